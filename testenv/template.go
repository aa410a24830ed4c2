package testenv

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// initialize makes the data directory: a copy of a template that initdb made once for this server and these arguments, or
// initdb's own work where the copy cannot be given an identifier of its own (9.4, whose checksum is another).
func (c *Cluster) initialize(ctx context.Context, args []string) error {
	template, err := c.template(ctx, args)
	if err != nil {
		return err
	}
	if err := copyTree(template, c.DataDir()); err != nil {
		return fmt.Errorf("copy template: %w", err)
	}
	err = renewSystemIdentifier(c.DataDir())
	if errors.Is(err, errNoChecksum) {
		if err := os.RemoveAll(c.DataDir()); err != nil {
			return err
		}
		return c.initdb(ctx, c.DataDir(), args)
	}
	return err
}

func (c *Cluster) initdb(ctx context.Context, dir string, args []string) error {
	secret := filepath.Join(c.dir, "pw")
	if err := os.WriteFile(secret, []byte(Password+"\n"), 0o600); err != nil {
		return fmt.Errorf("initdb: %w", err)
	}
	defer func() { _ = os.Remove(secret) }()
	if err := own(secret); err != nil {
		return fmt.Errorf("initdb: %w", err)
	}
	auth := "scram-sha-256"
	if c.num < 100000 {
		auth = "md5"
	}
	all := append([]string{
		"-D", dir, "-U", Superuser, "--pwfile=" + secret, "--auth-local=trust", "--auth-host=" + auth,
		"--encoding=UTF8", "--locale=C.UTF-8", "--lc-messages=C", "--nosync",
	}, args...)
	if _, err := c.run(ctx, "initdb", all...); err != nil {
		return err
	}
	return nil
}

// template returns the directory of the template, made if need be. Several processes may do so at once: the first rename
// wins, and a template is complete from the moment it has its name.
func (c *Cluster) template(ctx context.Context, args []string) (string, error) {
	root, err := cacheDir("templates")
	if err != nil {
		return "", err
	}
	release, err := c.run(ctx, "postgres", "--version")
	if err != nil {
		return "", err
	}
	id := sha256.Sum256([]byte(strings.Join(append([]string{release, c.bin, Password}, args...), "\x00")))
	dir := filepath.Join(root, fmt.Sprintf("%s-%x", c.version, id[:6]))
	if _, err := os.Stat(filepath.Join(dir, "PG_VERSION")); err == nil {
		return dir, nil
	}
	// initdb works in our own directory, which its user may write to; the cache may be ours alone.
	made := filepath.Join(c.dir, "template")
	if err := c.initdb(ctx, made, args); err != nil {
		return "", err
	}
	temp, err := os.MkdirTemp(root, "new-")
	if err != nil {
		return "", fmt.Errorf("template: %w", err)
	}
	defer func() { _ = os.RemoveAll(temp) }()
	if err := copyTree(made, filepath.Join(temp, "data")); err != nil {
		return "", fmt.Errorf("template: %w", err)
	}
	if err := os.RemoveAll(made); err != nil {
		return "", fmt.Errorf("template: %w", err)
	}
	if err := os.Rename(filepath.Join(temp, "data"), dir); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("template: %w", err)
	}
	return dir, nil
}

// copyTree copies directories and regular files, and gives the copies to the servers' user.
func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		if entry.IsDir() {
			if err := os.Mkdir(target, 0o700); err != nil {
				return err
			}
			return own(target)
		}
		return copyFile(path, target)
	})
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		_ = out.Close()
		return err
	}
	if err := out.Close(); err != nil {
		return err
	}
	return own(to)
}

var errNoChecksum = errors.New("pg_control: no CRC-32C found")

// renewSystemIdentifier gives a copied cluster an identifier of its own: two clusters with the same one look like one and
// the same server to everybody who checks. It is the first field of pg_control (src/include/catalog/pg_control.h), whose last
// field is a CRC-32C of all before it, at an offset that differs between versions; and it stands in the long header of the
// first page of every WAL segment (src/include/access/xlog_internal.h), which has no checksum.
func renewSystemIdentifier(data string) error {
	var id [8]byte
	if _, err := rand.Read(id[:]); err != nil {
		return err
	}
	id[7] &= 0x7f // shown as a signed number by some tools
	path := filepath.Join(data, "global", "pg_control")
	control, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	end, err := checksumOffset(control)
	if err != nil {
		return err
	}
	copy(control, id[:])
	binary.LittleEndian.PutUint32(control[end:], crc32.Checksum(control[:end], castagnoli))
	if err := os.WriteFile(path, control, 0o600); err != nil {
		return err
	}
	const segmentIdentifier = 24 // xlp_sysid, after the 24 bytes of the short header
	segments, err := filepath.Glob(filepath.Join(data, "pg_[wx]*l*", "0000*[0-9A-F]"))
	if err != nil {
		return err
	}
	for _, segment := range segments {
		f, err := os.OpenFile(segment, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		_, err = f.WriteAt(id[:], segmentIdentifier)
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	return nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksumOffset finds the one place of the used part of pg_control that holds the checksum of everything before it.
func checksumOffset(control []byte) (int, error) {
	for end := 64; end+4 <= min(len(control), 512); end += 4 {
		if binary.LittleEndian.Uint32(control[end:]) == crc32.Checksum(control[:end], castagnoli) {
			return end, nil
		}
	}
	return 0, errNoChecksum
}
