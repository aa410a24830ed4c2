package catalog

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"

	"github.com/xdg-go/stringprep"
)

// scramIterations is PostgreSQL's default.
const scramIterations = 4096

// Verifier gives the SCRAM-SHA-256 verifier of a password in the form PostgreSQL stores (src/common/scram-common.c,
// scram_build_secret): SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey.
func Verifier(password string) (string, error) {
	salt := make([]byte, 16)
	rand.Read(salt) // never fails
	return verifier(password, salt, scramIterations)
}

func verifier(password string, salt []byte, iterations int) (string, error) {
	// As PostgreSQL does, a password that SASLprep rejects or makes empty is taken as it is.
	if prepared, err := stringprep.SASLprep.Prepare(password); err == nil && prepared != "" {
		password = prepared
	}
	salted, err := pbkdf2.Key(sha256.New, password, salt, iterations, sha256.Size)
	if err != nil {
		return "", fmt.Errorf("derive verifier of password: %w", err)
	}
	sign := func(text string) []byte {
		mac := hmac.New(sha256.New, salted)
		mac.Write([]byte(text))
		return mac.Sum(nil)
	}
	stored := sha256.Sum256(sign("Client Key"))
	encode := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("SCRAM-SHA-256$%d:%s$%s:%s", iterations, encode(salt), encode(stored[:]),
		encode(sign("Server Key"))), nil
}
