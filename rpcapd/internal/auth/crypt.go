package auth

import (
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"slices"
	"strconv"
	"strings"

	"github.com/go-crypt/x/crypt"
	"github.com/go-crypt/x/yescrypt"
	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
)

// Limits on the work that one stored hash may ask for. Each is some ten times
// what distributions set, and about a second on a slow machine.
const (
	maxSHARounds     = 500_000
	maxBcryptCost    = 14
	maxYescryptBytes = 128 << 20
	maxArgon2KiB     = 256 << 10
	maxArgon2Passes  = 16
	maxArgon2Threads = 16
)

// maxPasswordLen is the longest password (CRYPT_MAX_PASSPHRASE_SIZE of
// libxcrypt, which fails on longer ones; SHA-crypt's work grows with its
// square).
const maxPasswordLen = 512

// ErrMismatch is returned for a password that is not the hashed one.
var ErrMismatch = errors.New("wrong password")

// HashError is a stored hash that no password can be held against: malformed,
// of a method that is not supported, or too costly.
type HashError struct {
	Method string // the part of the hash that tells the method, such as "$6$"
	Reason string
}

// Error tells method and reason, and nothing of the hash.
func (e *HashError) Error() string { return fmt.Sprintf("password hash %q: %s", e.Method, e.Reason) }

type method struct {
	prefix string
	verify func(hash string, password []byte) error
}

// methods are the supported ones of crypt(5), and Argon2id in PHC form.
var methods = []method{
	{"$y$", verifyYescrypt},
	{"$6$", func(h string, p []byte) error { return verifySHA(h, "$6$", sha512.New, p) }},
	{"$5$", func(h string, p []byte) error { return verifySHA(h, "$5$", sha256.New, p) }},
	{"$2b$", verifyBcrypt},
	{"$2a$", verifyBcrypt},
	{"$2y$", verifyBcrypt},
	{"$argon2id$", verifyArgon2},
	{"$1$", verifyMD5},
}

// verify holds password against a stored hash: nil, [ErrMismatch] or a
// [*HashError].
func verify(hash string, password []byte) error {
	if len(password) > maxPasswordLen {
		return ErrMismatch
	}
	for _, m := range methods {
		if strings.HasPrefix(hash, m.prefix) {
			return m.verify(hash, password)
		}
	}
	return &HashError{Method: methodOf(hash), Reason: "method is not supported"}
}

// supported tells whether verify knows the method of a hash.
func supported(hash string) bool {
	return slices.ContainsFunc(methods, func(m method) bool { return strings.HasPrefix(hash, m.prefix) })
}

// methodOf is the part of a hash that is no secret.
func methodOf(hash string) string {
	if rest, ok := strings.CutPrefix(hash, "$"); ok {
		if name, _, ok := strings.Cut(rest, "$"); ok && len(name) <= len("argon2id") {
			return "$" + name + "$"
		}
	}
	return ""
}

func compare(got, want []byte) error {
	if subtle.ConstantTimeCompare(got, want) != 1 {
		return ErrMismatch
	}
	return nil
}

// verifySHA verifies SHA-crypt, $5$ and $6$
// (https://www.akkadia.org/drepper/SHA-crypt.txt).
func verifySHA(hash, prefix string, new func() hash.Hash, password []byte) error {
	const defaultRounds, minRounds, maxSalt = 5000, 1000, 16
	rest := strings.TrimPrefix(hash, prefix)
	rounds := defaultRounds
	if value, ok := strings.CutPrefix(rest, "rounds="); ok {
		digits, salted, _ := strings.Cut(value, "$")
		n, err := strconv.ParseUint(digits, 10, 64)
		if err != nil {
			return &HashError{prefix, "its rounds are no number"}
		}
		if n > maxSHARounds {
			return &HashError{prefix, fmt.Sprintf("%d rounds, more than %d", n, maxSHARounds)}
		}
		rounds, rest = max(int(n), minRounds), salted
	}
	salt, want, ok := strings.Cut(rest, "$")
	if !ok || want == "" {
		return &HashError{prefix, "malformed"}
	}
	return compare(crypt.KeySHACrypt(new, password, []byte(salt[:min(len(salt), maxSalt)]), rounds), []byte(want))
}

// verifyMD5 verifies MD5-crypt, $1$.
func verifyMD5(hash string, password []byte) error {
	const prefix, maxSalt = "$1$", 8
	salt, want, ok := strings.Cut(strings.TrimPrefix(hash, prefix), "$")
	if !ok || want == "" {
		return &HashError{prefix, "malformed"}
	}
	return compare(crypt.KeyMD5Crypt(password, []byte(salt[:min(len(salt), maxSalt)])), []byte(want))
}

// checkBcrypt tells whether a hash has the form and a bearable cost.
func checkBcrypt(hash string) error {
	cost, err := bcrypt.Cost([]byte(hash))
	if err != nil {
		return &HashError{methodOf(hash), "malformed"}
	}
	if cost > maxBcryptCost {
		return &HashError{methodOf(hash), fmt.Sprintf("cost %d, more than %d", cost, maxBcryptCost)}
	}
	return nil
}

func verifyBcrypt(hash string, password []byte) error {
	if err := checkBcrypt(hash); err != nil {
		return err
	}
	switch err := bcrypt.CompareHashAndPassword([]byte(hash), password); {
	case errors.Is(err, bcrypt.ErrMismatchedHashAndPassword):
		return ErrMismatch
	case err != nil:
		return &HashError{methodOf(hash), "malformed"}
	}
	return nil
}

// verifyYescrypt verifies $y$ in the flavour that libxcrypt makes: its three
// characters of parameters are "j", log2 N less 1 and r less 1.
func verifyYescrypt(hash string, password []byte) error {
	const prefix, blockLen = "$y$", 128
	parameters, _, ok := strings.Cut(strings.TrimPrefix(hash, prefix), "$")
	if !ok || strings.Count(hash, "$") != 4 {
		return &HashError{prefix, "malformed"}
	}
	_, log2N, r, err := yescrypt.DecodeSetting([]byte(parameters))
	if err != nil {
		return &HashError{prefix, "parameters are not supported"}
	}
	if log2N > 30 || blockLen*r<<log2N > maxYescryptBytes {
		return &HashError{prefix, fmt.Sprintf("needs more than %d MiB", maxYescryptBytes>>20)}
	}
	got, err := yescrypt.Hash(password, []byte(hash))
	if err != nil {
		return &HashError{prefix, "parameters are not supported"}
	}
	return compare(got, []byte(hash))
}

// argon2Hash is an Argon2id hash as the PHC string format writes it:
// $argon2id$v=19$m=KiB,t=passes,p=threads$salt$key, base64 without padding.
type argon2Hash struct {
	memory, passes uint32
	threads        uint8
	salt, key      []byte
}

func (h argon2Hash) String() string {
	enc := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, h.memory, h.passes, h.threads,
		enc.EncodeToString(h.salt), enc.EncodeToString(h.key))
}

func parseArgon2(hash string) (h argon2Hash, err error) {
	const prefix, minSalt, minKey, maxLen = "$argon2id$", 8, 16, 64
	fields := strings.Split(hash, "$")
	if len(fields) != 6 || fields[2] != "v="+strconv.Itoa(argon2.Version) {
		return h, &HashError{prefix, "malformed, or not version 19"}
	}
	if _, err := fmt.Sscanf(fields[3], "m=%d,t=%d,p=%d", &h.memory, &h.passes, &h.threads); err != nil {
		return h, &HashError{prefix, "parameters are not m=,t=,p="}
	}
	if h.memory > maxArgon2KiB || h.passes > maxArgon2Passes || h.threads > maxArgon2Threads {
		return h, &HashError{prefix, fmt.Sprintf("m, t or p is more than %d, %d, %d", maxArgon2KiB, maxArgon2Passes, maxArgon2Threads)}
	}
	if h.passes == 0 || h.threads == 0 {
		return h, &HashError{prefix, "t or p is 0"}
	}
	enc := base64.RawStdEncoding.Strict()
	salt, saltErr := enc.DecodeString(fields[4])
	key, keyErr := enc.DecodeString(fields[5])
	if saltErr != nil || keyErr != nil || len(salt) < minSalt || len(key) < minKey || len(salt) > maxLen || len(key) > maxLen {
		return h, &HashError{prefix, "salt or key is malformed"}
	}
	h.salt, h.key = salt, key
	return h, nil
}

func verifyArgon2(hash string, password []byte) error {
	h, err := parseArgon2(hash)
	if err != nil {
		return err
	}
	return compare(argon2.IDKey(password, h.salt, h.passes, h.memory, h.threads, uint32(len(h.key))), h.key)
}
