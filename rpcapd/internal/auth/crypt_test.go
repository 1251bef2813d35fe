package auth

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"

	"capstan/pkg/netns/netnstest"
)

// vector is a password and what libxcrypt made of it.
type vector struct{ password, hash string }

func vectors(t testing.TB) (list []vector) {
	t.Helper()
	f, err := os.Open("testdata/mkpasswd.tsv")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if password, hash, ok := strings.Cut(s.Text(), "\t"); ok && !strings.HasPrefix(password, "#") {
			list = append(list, vector{password, hash})
		}
	}
	if len(list) < 20 {
		t.Fatalf("only %d vectors", len(list))
	}
	return list
}

func TestVerifyAgreesWithLibxcrypt(t *testing.T) {
	for _, v := range vectors(t) {
		if err := verify(v.hash, []byte(v.password)); err != nil {
			t.Errorf("%.20q %.20s: %v", v.password, v.hash, err)
		}
		if err := verify(v.hash, []byte(v.password+"x")); !errors.Is(err, ErrMismatch) {
			t.Errorf("a wrong password for %.20q, %.20s: %v", v.password, v.hash, err)
		}
	}
}

// Each character of a hash counts.
func TestVerifyChangedHash(t *testing.T) {
	for _, v := range vectors(t)[3:18] {
		b := []byte(v.hash)
		if b[len(b)-8]++; verify(string(b), []byte(v.password)) == nil {
			t.Errorf("a changed hash is taken: %.20s", b)
		}
		if verify(v.hash[:len(v.hash)-1], []byte(v.password)) == nil {
			t.Errorf("a hash cut short is taken: %.20s", v.hash)
		}
	}
}

// Perl's crypt is the C library's.
func TestVerifyAgreesWithCrypt(t *testing.T) {
	perl := netnstest.RequireProgram(t, "perl")
	random := rand.New(rand.NewPCG(1, 2))
	salt := func(n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"[random.IntN(64)]
		}
		return string(b)
	}
	for i := range 5 {
		password := make([]byte, random.IntN(80))
		for j := range password {
			password[j] = byte(1 + random.IntN(255))
		}
		for _, setting := range []string{
			"$6$" + salt(random.IntN(20)), "$5$rounds=1234$" + salt(random.IntN(16)), "$1$" + salt(random.IntN(9)),
			"$2b$04$" + salt(21) + "O", "$y$j75$" + salt(19) + "/",
		} {
			cmd := exec.Command(perl, "-e", `binmode STDIN; read(STDIN, $p, 1000); print crypt($p, $ARGV[0])`, "--", setting)
			cmd.Stdin = strings.NewReader(string(password))
			hash, err := cmd.Output()
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(string(hash), "$") {
				t.Fatalf("crypt refuses %q: %q", setting, hash)
			}
			if err := verify(string(hash), password); err != nil {
				t.Errorf("%d: %q for %q: %v", i, hash, password, err)
			}
		}
	}
}

func TestHashesThatCantBeUsed(t *testing.T) {
	const key = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	for hash, want := range map[string]string{
		"":                                  "method is not supported",
		"ab/Vf1jNYRZAo":                     "method is not supported", // DES
		"$gy$j9T$abc$def":                   `"$gy$": method is not supported`,
		"$6$rounds=500001$salt$hash":        "more than 500000",
		"$6$rounds=9999999999999999$s$h":    "more than 500000",
		"$5$rounds=x$salt$hash":             "no number",
		"$6$salt":                           "malformed",
		"$6$salt$":                          "malformed",
		"$1$":                               "malformed",
		"$2b$15$" + strings.Repeat("a", 53): "cost 15, more than 14",
		"$2b$05$short":                      "malformed",
		"$y$jFT$abcdefgh$hash":              "more than 128 MiB",
		"$y$k9T$abcdefgh$hash":              "not supported",
		"$y$j9T$":                           "malformed",
		"$y$j9T$!$x":                        "not supported",
		"$argon2id$v=19$m=262145,t=1,p=1$c2FsdHNhbHQ$" + key: "more than",
		"$argon2id$v=19$m=64,t=17,p=1$c2FsdHNhbHQ$" + key:    "more than",
		"$argon2id$v=19$m=64,t=0,p=1$c2FsdHNhbHQ$" + key:     "is 0",
		"$argon2id$v=16$m=64,t=1,p=1$c2FsdHNhbHQ$" + key:     "not version 19",
		"$argon2id$v=19$m=64,t=1$c2FsdHNhbHQ$" + key:         "m=,t=,p=",
		"$argon2id$v=19$m=64,t=1,p=1$c2F$" + key:             "salt or key",
		"$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHQ$AAAA":       "salt or key",
	} {
		err := verify(hash, []byte("secret"))
		if he := (*HashError)(nil); !errors.As(err, &he) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", hash, err, want)
		}
	}
}

func TestNewHash(t *testing.T) {
	hash, err := NewHash([]byte("long enough"))
	if err != nil {
		t.Fatal(err)
	}
	other, err := NewHash([]byte("long enough"))
	if err != nil || other == hash {
		t.Errorf("no salt: %v", err)
	}
	if err := verify(hash, []byte("long enough")); err != nil {
		t.Error(err)
	}
	if err := verify(hash, []byte("long enougH")); !errors.Is(err, ErrMismatch) {
		t.Error(err)
	}
	for password, want := range map[string]error{
		"": ErrShortPassword, "seven77": ErrShortPassword, "nul\x00nul\x00": ErrNULInPassword, strings.Repeat("x", 513): ErrLongPassword,
	} {
		if _, err := NewHash([]byte(password)); !errors.Is(err, want) {
			t.Errorf("%.10q: %v", password, err)
		}
	}
}

// FuzzVerify: whatever the stored hash, verify answers in bounded time without
// panic, and takes a password only for the one hash that belongs to it.
func FuzzVerify(f *testing.F) {
	for _, v := range vectors(f) {
		f.Add(v.hash, v.password)
	}
	f.Add("$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA", "x")
	known := map[string]string{}
	for _, v := range vectors(f) {
		known[v.password+"\t"+v.hash] = v.hash
	}
	f.Fuzz(func(t *testing.T, hash, password string) {
		if costly(hash) {
			t.Skip("within the limits, but too slow for a fuzz target")
		}
		err := verify(hash, []byte(password))
		he := (*HashError)(nil)
		switch {
		case err == nil:
			if methodOf(hash) == "" || verify(hash, []byte(password+"\x01")) == nil && len(password) < 72 {
				t.Errorf("%q is taken for %q", password, hash)
			}
		case errors.Is(err, ErrMismatch):
			if known[password+"\t"+hash] != "" {
				t.Errorf("%q is refused for %q", password, hash)
			}
		case !errors.As(err, &he) || strings.Contains(err.Error(), hash) && len(hash) > len("$argon2id$"):
			t.Errorf("%q: %v", hash, err)
		}
	})
}

func costly(hash string) bool {
	var rounds, cost, memory, passes int
	if n, _ := fmt.Sscanf(hash[min(3, len(hash)):], "rounds=%d", &rounds); n == 1 && rounds > 8000 {
		return true
	}
	if n, _ := fmt.Sscanf(hash[min(4, len(hash)):], "%d$", &cost); n == 1 && cost > 5 {
		return true
	}
	if n, _ := fmt.Sscanf(hash, "$argon2id$v=19$m=%d,t=%d", &memory, &passes); n == 2 && memory*passes > 1<<16 {
		return true
	}
	return strings.HasPrefix(hash, "$y$j") && len(hash) > 4 && (hash[4] > '7' || hash[4] < '.')
}
