package auth

import (
	"crypto/rand"
	"errors"
	"fmt"

	"golang.org/x/crypto/argon2"
)

// Parameters of new hashes: the first choice of OWASP's password storage
// cheat sheet for Argon2id with little memory.
const (
	newMemory  = 19 << 10 // KiB
	newPasses  = 2
	newThreads = 1
	newSaltLen = 16
	newKeyLen  = 32
)

// Errors of NewHash.
var (
	ErrShortPassword = fmt.Errorf("the password is shorter than %d bytes", minPasswordLen)
	ErrLongPassword  = fmt.Errorf("the password is longer than %d bytes", maxPasswordLen)
	ErrNULInPassword = errors.New("the password contains a NUL byte")
)

// minPasswordLen is the least that NewHash takes (NIST SP 800-63B §5.1.1.2).
const minPasswordLen = 8

// NewHash hashes a password for a credentials file, by Argon2id with a random
// salt.
func NewHash(password []byte) (string, error) {
	switch {
	case len(password) < minPasswordLen:
		return "", ErrShortPassword
	case len(password) > maxPasswordLen:
		return "", ErrLongPassword
	case hasNUL(password):
		return "", ErrNULInPassword
	}
	h := argon2Hash{memory: newMemory, passes: newPasses, threads: newThreads, salt: make([]byte, newSaltLen)}
	rand.Read(h.salt)
	h.key = argon2.IDKey(password, h.salt, h.passes, h.memory, h.threads, newKeyLen)
	return h.String(), nil
}
