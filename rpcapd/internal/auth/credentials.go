package auth

import (
	"errors"
	"fmt"
	"strings"

	"capstan/pkg/smallfile"
)

// CredentialsFile is the path of a file of users and password hashes. It is
// read anew for each login.
//
// A line is NAME:HASH, where the hash is Argon2id or bcrypt; what follows a
// second colon is ignored. Empty lines and lines that begin with # are
// comments. Whoever can read the file can try passwords offline, so only the
// daemon should.
type CredentialsFile string

// maxNameLen is the longest name of a user (LOGIN_NAME_MAX of Linux).
const maxNameLen = 256

func (f CredentialsFile) load() (directory, error) {
	b, err := smallfile.Read(string(f), maxFileLen)
	if err != nil {
		return nil, err
	}
	defer clear(b)
	d, err := parseCredentials(string(b))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f, err)
	}
	return d, nil
}

// Check tells what is wrong with the file.
func (f CredentialsFile) Check() error {
	_, err := f.load()
	return err
}

// parseCredentials reads a credentials file, and tells all that is wrong with
// it, by line.
func parseCredentials(text string) (directory, error) {
	d := directory{}
	var errs []error
	number := 0
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		e, err := parseCredential(line)
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("line %d: %w", number, err))
		case d[e.Name] != nil:
			errs = append(errs, fmt.Errorf("line %d: user %q has a line already", number, e.Name))
		default:
			d[e.Name] = e
		}
	}
	return d, errors.Join(errs...)
}

// Errors of a line. They don't quote it, since it may be a password.
var (
	errNoColon = errors.New("no colon; a line is NAME:HASH")
	errName    = fmt.Errorf("the name is empty, longer than %d bytes or contains a control character", maxNameLen)
	errHash    = errors.New("the hash is neither Argon2id ($argon2id$) nor bcrypt ($2b$); rpcapd hash-password makes one")
)

func parseCredential(line string) (*entry, error) {
	name, rest, ok := strings.Cut(line, ":")
	if !ok {
		return nil, errNoColon
	}
	if CheckName(name) != nil {
		return nil, errName
	}
	hash, _, _ := strings.Cut(rest, ":")
	switch methodOf(hash) {
	case "$argon2id$":
		if _, err := parseArgon2(hash); err != nil {
			return nil, err
		}
	case "$2a$", "$2b$", "$2y$":
		if err := checkBcrypt(hash); err != nil {
			return nil, err
		}
	default:
		return nil, errHash
	}
	return &entry{Account: Account{Name: name}, hash: hash}, nil
}

// CheckName tells whether name can stand in a credentials file.
func CheckName(name string) error {
	bad := func(r rune) bool { return r < ' ' || r == 0x7f || r == ':' }
	if name == "" || name[0] == '#' || len(name) > maxNameLen || strings.ContainsFunc(name, bad) || strings.TrimSpace(name) != name {
		return errName
	}
	return nil
}
