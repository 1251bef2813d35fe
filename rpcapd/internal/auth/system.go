package auth

import (
	"errors"
	"io/fs"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"capstan/pkg/smallfile"
)

// System is the accounts of the host. Its files are read anew for each login.
// The zero value names the usual ones.
type System struct {
	Passwd, Shadow, Group string
	// Now is the time that accounts and passwords expire by; nil is time.Now.
	Now func() time.Time
}

func (s System) load() (directory, error) {
	passwd, err := smallfile.Read(orDefault(s.Passwd, "/etc/passwd"), maxFileLen)
	if err != nil {
		return nil, err
	}
	shadow, err := smallfile.Read(orDefault(s.Shadow, "/etc/shadow"), maxFileLen)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	defer clear(shadow)
	group, err := smallfile.Read(orDefault(s.Group, "/etc/group"), maxFileLen)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	now := time.Now
	if s.Now != nil {
		now = s.Now
	}
	return parseSystem(string(passwd), string(shadow), string(group), now()), nil
}

// Readable tells whether the file with the passwords can be read, which takes
// root or CAP_DAC_READ_SEARCH.
func (s System) Readable() error {
	_, err := smallfile.Read(orDefault(s.Shadow, "/etc/shadow"), maxFileLen)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // as on systems without shadow passwords
	}
	return err
}

func orDefault(path, standard string) string {
	if path == "" {
		return standard
	}
	return path
}

// parseSystem reads passwd(5), shadow(5) and group(5). As libc does, it skips
// lines that it can't understand, and the first line of a name counts.
func parseSystem(passwd, shadow, group string, now time.Time) directory {
	d := directory{}
	primary := map[string]string{} // user to number of its group
	for f := range lines(passwd, 7) {
		uid, err := strconv.ParseUint(f[2], 10, 32)
		if err != nil || f[0] == "" || d[f[0]] != nil {
			continue
		}
		d[f[0]] = &entry{Account: Account{Name: f[0], UID: uint32(uid), System: true}, hash: f[1]}
		primary[f[0]] = f[3]
	}
	seen := map[string]bool{}
	for f := range lines(shadow, 9) {
		e := d[f[0]]
		if e == nil || seen[f[0]] {
			continue
		}
		seen[f[0]] = true
		e.hash, e.barred = f[1], barred(f, now)
	}
	addGroups(d, primary, group)
	for _, e := range d {
		if !e.usable() {
			// "!" and "*" lock; nothing means no password, which the
			// reference's crypt() refuses too; "x" lacks its shadow line.
			e.barred = RefusedLocked
		}
	}
	return d
}

// barred tells from a line of shadow(5) why a login is refused whatever the
// password. Deviation: the reference looks at none of this.
func barred(f []string, now time.Time) Refusal {
	today := now.Unix() / int64(24*time.Hour/time.Second)
	changed, maxAge, expires := days(f[2]), days(f[4]), days(f[7])
	switch {
	case expires >= 0 && today >= expires:
		return RefusedAccountExpired
	case changed == 0:
		return RefusedPasswordExpired // has to be changed at the next login
	case changed > 0 && maxAge >= 0 && today > changed+maxAge:
		// For some days more (field 7) a login may still change the password,
		// which RPCAP can't.
		return RefusedPasswordExpired
	}
	return refusedNot
}

// days reads a number of days; -1 is none.
func days(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || n > math.MaxInt32 {
		return -1
	}
	return n
}

func addGroups(d directory, primary map[string]string, group string) {
	byNumber := map[string]string{}
	for f := range lines(group, 4) {
		if _, ok := byNumber[f[2]]; !ok {
			byNumber[f[2]] = f[0]
		}
		for member := range strings.SplitSeq(f[3], ",") {
			if e := d[member]; e != nil && !slices.Contains(e.Groups, f[0]) {
				e.Groups = append(e.Groups, f[0])
			}
		}
	}
	for name, number := range primary {
		if g, ok := byNumber[number]; ok && !slices.Contains(d[name].Groups, g) {
			d[name].Groups = append(d[name].Groups, g)
		}
	}
}

// lines yields the fields of the lines that have n of them.
func lines(text string, n int) func(yield func([]string) bool) {
	return func(yield func([]string) bool) {
		for line := range strings.Lines(text) {
			f := strings.Split(strings.TrimRight(line, "\r\n"), ":")
			if len(f) == n && !yield(f) {
				return
			}
		}
	}
}
