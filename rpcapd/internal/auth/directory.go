package auth

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"strings"
)

// Account is a user that has proved who it is.
type Account struct {
	Name   string
	UID    uint32
	System bool     // UID and Groups are those of a system account
	Groups []string // names
}

// entry is an account with its secrets.
type entry struct {
	Account
	hash   string
	barred Refusal // why even the right password doesn't help; 0: nothing
}

// usable tells whether there is a hash at all: anything else locks the account.
func (e *entry) usable() bool { return strings.HasPrefix(e.hash, "$") }

// directory is all accounts of a source at one moment.
type directory map[string]*entry

// Source is where accounts come from: [System] or [CredentialsFile].
type Source interface {
	load() (directory, error)
}

// decoy is what the password of an unknown user is held against, so that it
// takes as long as that of a known one: the hash of some user, which key chooses
// by the name, always the same one for a name. That the login fails even if the
// password matches it is the caller's business.
func (d directory) decoy(key []byte, name string) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(name))
	want := mac.Sum(nil)
	// The hash of the user whose own mac follows that of name, or else the
	// first: a walk of the map in whatever order gives the same one.
	var next, first *entry
	var nextMAC, firstMAC []byte
	for _, e := range d {
		if !supported(e.hash) {
			continue
		}
		mac.Reset()
		mac.Write([]byte(e.Name))
		sum := mac.Sum(nil)
		if firstMAC == nil || bytes.Compare(sum, firstMAC) < 0 {
			first, firstMAC = e, sum
		}
		if bytes.Compare(sum, want) > 0 && (nextMAC == nil || bytes.Compare(sum, nextMAC) < 0) {
			next, nextMAC = e, sum
		}
	}
	switch {
	case next != nil:
		return next.hash
	case first != nil:
		return first.hash
	}
	return defaultDecoy
}

// defaultDecoy stands in where nobody has a password: SHA-512-crypt with the
// default rounds.
const defaultDecoy = "$6$decoydecoydecoyd$."

// maxFileLen bounds every file that accounts are read from.
const maxFileLen = 16 << 20

func hasNUL(b []byte) bool { return bytes.IndexByte(b, 0) >= 0 }
