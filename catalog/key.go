package catalog

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// keySize is that of AES-256.
const keySize = 32

// key encrypts the secrets of tasks and derives the passwords of login roles.
type key struct {
	raw  []byte
	aead cipher.AEAD
}

// loadKey reads the key file, or makes one.
func loadKey(name string) (*key, error) {
	if err := makeKey(name); err != nil {
		return nil, fmt.Errorf("make secret key: %w", err)
	}
	return readKey(name)
}

// readKey reads the key file. The error of a missing one is fs.ErrNotExist.
func readKey(name string) (*key, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, fmt.Errorf("secret key: %w", err)
	}
	if mode := info.Mode(); !mode.IsRegular() || mode.Perm()&0o077 != 0 {
		return nil, fmt.Errorf("secret key %s has mode %v: it must be a file that only its owner can read (chmod 600)",
			name, mode)
	}
	raw, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("secret key: %w", err)
	}
	if len(raw) != keySize {
		return nil, fmt.Errorf("secret key %s has %d bytes, not %d", name, len(raw), keySize)
	}
	return newKey(raw)
}

func newKey(raw []byte) (*key, error) {
	block, err := aes.NewCipher(raw)
	if err != nil {
		return nil, fmt.Errorf("secret key: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("secret key: %w", err)
	}
	return &key{raw: raw, aead: aead}, nil
}

// makeKey writes a new key unless there is one. The file appears complete and durable or not at all.
func makeKey(name string) error {
	if _, err := os.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	raw := make([]byte, keySize)
	rand.Read(raw) // never fails
	dir := filepath.Dir(name)
	f, err := os.CreateTemp(dir, ".secret.key-*") // made with mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) //nolint:errcheck // gone after the rename
	_, err = f.Write(raw)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), name); err != nil {
		return err
	}
	return syncDir(dir)
}

// syncDir makes the names in a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// seal encrypts text for one column of one task. The result opens with the same task and column only, so that values
// cannot be exchanged within the catalog.
func (k *key) seal(task, column string, text []byte) []byte {
	nonce := make([]byte, k.aead.NonceSize())
	rand.Read(nonce) // never fails
	return k.aead.Seal(nonce, nonce, text, place(task, column))
}

// open decrypts what seal made.
func (k *key) open(task, column string, sealed []byte) ([]byte, error) {
	n := k.aead.NonceSize()
	if len(sealed) < n {
		return nil, fmt.Errorf("decrypt %s of task %s: too short", column, task)
	}
	text, err := k.aead.Open(nil, sealed[:n], sealed[n:], place(task, column))
	if err != nil {
		return nil, fmt.Errorf("decrypt %s of task %s: %w", column, task, err)
	}
	return text, nil
}

func place(task, column string) []byte { return []byte(task + "/" + column) }

// derive gives a value that only holders of the key know, as 64 hexadecimal digits.
func (k *key) derive(purpose string) string {
	mac := hmac.New(sha256.New, k.raw)
	mac.Write([]byte(purpose))
	return hex.EncodeToString(mac.Sum(nil))
}

// fingerprint tells keys apart without giving them away.
func (k *key) fingerprint() string { return k.derive("fingerprint")[:16] }
