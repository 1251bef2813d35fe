package auth

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const (
	testPasswd = `root:x:0:0:root:/root:/bin/bash
daemon:*:1:1::/:/usr/sbin/nologin
alice:x:1000:1000:Alice,,,:/home/alice:/bin/bash
bob:x:1001:1001::/home/bob:/bin/sh
old:$1$abcdefgh$cHJi5PXp/ki/ktXzqlk6I1:1002:100::/:/bin/sh
bob:x:0:0:a second line of a name:/:/bin/sh
half:a:line
bad:x:-1:1::/:/bin/sh
noshadow:x:1003:100::/:/bin/sh
empty::1004:100::/:/bin/sh
`
	testGroup = `root:x:0:
wheel:x:10:alice,nobody
wireshark:x:110:bob,alice
users:x:100:alice
alice:x:1000:
bad:line
`
	secret = "$1$abcdefgh$cHJi5PXp/ki/ktXzqlk6I1" // of "secret"
)

var day20000 = time.Unix(20000*86400+3600, 0)

func TestSystemAccounts(t *testing.T) {
	shadow := "root:!:19000:0:99999:7:::\nalice:" + secret + ":19000:0:99999:7:::\nbob:!" + secret + ":19000:0:99999:7:::\nghost:" + secret + ":19000::::::\n"
	d := parseSystem(testPasswd, shadow, testGroup, day20000)
	got := map[string]Account{}
	barredFor := map[string]string{}
	for name, e := range d {
		got[name] = e.Account
		barredFor[name] = e.barred.String()
	}
	want := map[string]Account{
		"root":     {Name: "root", System: true, Groups: []string{"root"}},
		"daemon":   {Name: "daemon", UID: 1, System: true},
		"alice":    {Name: "alice", UID: 1000, System: true, Groups: []string{"wheel", "wireshark", "users", "alice"}},
		"bob":      {Name: "bob", UID: 1001, System: true, Groups: []string{"wireshark"}},
		"old":      {Name: "old", UID: 1002, System: true, Groups: []string{"users"}},
		"noshadow": {Name: "noshadow", UID: 1003, System: true, Groups: []string{"users"}},
		"empty":    {Name: "empty", UID: 1004, System: true, Groups: []string{"users"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	wantBarred := map[string]string{
		"root": "account_locked", "daemon": "account_locked", "alice": "", "bob": "account_locked", "old": "",
		"noshadow": "account_locked", "empty": "account_locked",
	}
	if diff := cmp.Diff(wantBarred, barredFor); diff != "" {
		t.Error(diff)
	}
}

func TestExpiry(t *testing.T) {
	for fields, want := range map[string]Refusal{
		"19000:0:99999:7:::":      refusedNot,
		":::::":                   refusedNot,
		"19000::::":               refusedNot,
		"0:0:99999:7:::":          RefusedPasswordExpired, // must be changed
		"19900:0:99:7:::":         RefusedPasswordExpired,
		"19900:0:100:7:::":        refusedNot,
		"19900:0:99:7:30::":       RefusedPasswordExpired, // may still be changed, but not here
		"19000:0:99999:7::20000:": RefusedAccountExpired,
		"19000:0:99999:7::20001:": refusedNot,
		"19000:0:99999:7::0:":     RefusedAccountExpired,
		"x:y:z:7:::":              refusedNot,
	} {
		line := "alice:" + secret + ":" + fields
		line += strings.Repeat(":", 8-strings.Count(line, ":"))
		d := parseSystem(testPasswd, line+"\n", "", day20000)
		if got := d["alice"].barred; got != want {
			t.Errorf("%s: %v, want %v", fields, got, want)
		}
	}
}

func TestSystemReadsItsFiles(t *testing.T) {
	dir := t.TempDir()
	s := System{Passwd: filepath.Join(dir, "passwd"), Shadow: filepath.Join(dir, "shadow"), Group: filepath.Join(dir, "group")}
	if _, err := s.load(); err == nil {
		t.Error("no passwd, no error")
	}
	write(t, s.Passwd, testPasswd)
	if d, err := s.load(); err != nil || d["old"].barred != refusedNot {
		t.Errorf("a system without shadow passwords: %v", err)
	}
	if err := s.Readable(); err != nil {
		t.Error(err)
	}
	if err := os.Mkdir(s.Shadow, 0o700); err != nil { // can't be read as a file, even by root
		t.Fatal(err)
	}
	if _, err := s.load(); err == nil {
		t.Error("unreadable passwords, no error")
	}
	if s.Readable() == nil {
		t.Error("unreadable passwords are readable")
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestCredentialsFile(t *testing.T) {
	hash, err := NewHash([]byte("long enough"))
	if err != nil {
		t.Fatal(err)
	}
	const bc = "$2b$05$njIZw3ZAjmTIZ.Trf.Q81e5JjzMxkIZWTkls7P4G9cy9ZzIQkTX9q"
	f := CredentialsFile(filepath.Join(t.TempDir(), "credentials"))
	write(t, string(f), "# who\n\n  alice:"+hash+"  \r\nbob:"+bc+":made in May\n")
	d, err := f.load()
	if err != nil || len(d) != 2 || d["alice"].hash != hash || d["bob"].hash != bc || d["bob"].System {
		t.Errorf("%v, %v", d, err)
	}
	write(t, string(f), "alice\n:"+bc+"\na\x01b:"+bc+"\nbob:secret\nbob:$6$a$b\nbob:"+bc+"\nbob:"+bc+"\neve:$2b$20$"+bc[7:]+"\n")
	err = f.Check()
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		string(f), "line 1: no colon", "line 2: the name", "line 3: the name", "line 4: the hash is neither", "line 5: the hash is neither",
		`line 7: user "bob" has a line already`, "line 8: ", "cost 20",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v: no %q", err, want)
		}
	}
	if strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), bc[7:]) {
		t.Errorf("a secret shows: %v", err)
	}
}

// FuzzCredentials: what is taken can be written again and means the same, and
// no error tells a part of the file that may be a secret.
func FuzzCredentials(f *testing.F) {
	f.Add("alice:$2b$05$njIZw3ZAjmTIZ.Trf.Q81e5JjzMxkIZWTkls7P4G9cy9ZzIQkTX9q\n")
	f.Add("# c\nbob:$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA:x\nbob\n")
	f.Fuzz(func(t *testing.T, text string) {
		d, err := parseCredentials(text)
		if err != nil {
			return
		}
		var b strings.Builder
		for _, e := range d {
			b.WriteString(e.Name + ":" + e.hash + "\n")
		}
		again, err := parseCredentials(b.String())
		if err != nil || len(again) != len(d) {
			t.Fatalf("%q: %v", b.String(), err)
		}
		for name, e := range d {
			if again[name] == nil || again[name].hash != e.hash {
				t.Errorf("%q changed", name)
			}
		}
	})
}

// FuzzSystem: whatever the files hold, nobody without a hash gets in, and who
// is locked stays so.
func FuzzSystem(f *testing.F) {
	f.Add(testPasswd, "alice:"+secret+":19000:0:99999:7:::\n", testGroup)
	f.Fuzz(func(t *testing.T, passwd, shadow, group string) {
		for name, e := range parseSystem(passwd, shadow, group, day20000) {
			if name == "" || e.Name != name || !e.usable() && e.barred == refusedNot {
				t.Errorf("%q: %+v", name, e)
			}
		}
	})
}
