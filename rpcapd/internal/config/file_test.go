package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

func readFile(t *testing.T, text string) (File, []string) {
	t.Helper()
	f, problems, err := ReadFile(strings.NewReader(text), "f")
	if err != nil {
		t.Fatal(err)
	}
	return f, problems
}

// describe writes a file's settings in short.
func describe(f File) string {
	null := "-"
	if f.NullAuth != nil {
		null = fmt.Sprint(*f.NullAuth)
	}
	return fmt.Sprintf("%s %v %s", f.Allow, f.Active, null)
}

// Lines that the reference takes, of which releases 1.10.0 to 1.10.6 took none.
func TestCase112ReadFile(t *testing.T) {
	for _, tc := range []struct{ text, want string }{
		{"", " [] -"},
		{"PassiveClient = a\nPassiveClient=b\n", "a,b [] -"},
		{"\t PassiveClient\t=\ta # comment\r\n", "a [] -"},
		{"PassiveClient = a#b\n", "a [] -"},
		{"PassiveClient = a,10.0.0.0/8;b ignored\n", "a,10.0.0.0/8,b [] -"},
		{"# PassiveClient = a\n\n \t\n", " [] -"},
		{"NullAuthPermit = YES\n", " [] true"},
		{"NullAuthPermit = yes\n", " [] false"},
		{"NullAuthPermit = NO\nNullAuthPermit = YES # at last\n", " [] true"},
		{"ActiveClient = h, 2004\n", " [h:2004] -"},
		{"ActiveClient = h,DEFAULT\n", " [h:2003] -"},
		{"ActiveClient = h 2004\n", " [h:2004] -"},
		{"ActiveClient = h;2004 # c\n", " [h:2004] -"},
		{"ActiveClient = h , 2004\n", " [h:2004] -"},
		{"ActiveClient = ::1,rpc\n", " [[::1]:rpc] -"},
		{"ActiveClient = h, 2004, ifname=eth0\n", " [h:2004] -"},
	} {
		f, problems := readFile(t, tc.text)
		if got := describe(f); got != tc.want || len(problems) > 0 {
			t.Errorf("%q: %s, want %s; %q", tc.text, got, tc.want, problems)
		}
	}
}

// The reference skips a last line that has no end.
func TestCase114LastLineWithoutEnd(t *testing.T) {
	f, problems := readFile(t, "NullAuthPermit = YES\nPassiveClient = a")
	if got := describe(f); got != "a [] true" || len(problems) > 0 {
		t.Errorf("%s, %q", got, problems)
	}
}

// A line that is wrong is told as the reference tells it, and the others count.
func TestCase113Problems(t *testing.T) {
	for _, tc := range []struct{ line, problem string }{
		{"=", "doesn't have a valid parameter name"},
		{"9a = b", "doesn't have a valid parameter name"},
		{"PassiveClient", "has a parameter but no ="},
		{"PassiveClient x = y", "has a parameter but no ="},
		{"PassiveClient = ", "has a parameter but no value"},
		{"PassiveClient = # x", "has a parameter but no value"},
		{"passiveclient = x", "has an unknown parameter passiveclient"},
		{"Port = 1", "has an unknown parameter Port"},
		{"ActiveClient = h", "has an ActiveClient parameter with a value containing no port"},
		{"ActiveClient = h,", "has an ActiveClient parameter with a value containing no port"},
		{"ActiveClient = h,,", "has an ActiveClient parameter with a value containing no port"},
		{"ActiveClient = h#2003", "has an ActiveClient parameter with a value containing no port"},
		{"ActiveClient = ,2003", "has an ActiveClient parameter with a value containing no address"},
		{"PassiveClient = " + strings.Repeat("x", 2031), "is longer than 2048 characters"},
	} {
		f, problems := readFile(t, "\n"+tc.line+"\nNullAuthPermit = YES\n")
		if want := "f, line 2 " + tc.problem; len(problems) != 1 || problems[0] != want {
			t.Errorf("%.60q: %q, want %q", tc.line, problems, want)
		}
		if got := describe(f); got != " [] true" {
			t.Errorf("%.60q: %s", tc.line, got)
		}
	}
	// The longest line there may be.
	host := strings.Repeat("x", 2030)
	if f, problems := readFile(t, "PassiveClient = "+host+"\n"); describe(f) != host+" [] -" || len(problems) > 0 {
		t.Errorf("%q", problems)
	}
	if _, _, err := ReadFile(iotest.ErrReader(io.ErrClosedPipe), "f"); !errors.Is(err, io.ErrClosedPipe) {
		t.Error(err)
	}
}

// A mistake in the only entry must not open the daemon to everybody.
func TestReadFileWrongPrefixNeverMatches(t *testing.T) {
	f, problems := readFile(t, "PassiveClient = 10.0.0.0/99\n")
	if len(problems) != 1 || !strings.Contains(problems[0], "never matches") || len(f.Allow.Entries) != 1 || f.Allow.Entries[0].Prefix.IsValid() {
		t.Errorf("%+v, %q", f, problems)
	}
}

func TestCase115Limits(t *testing.T) {
	f, problems := readFile(t, strings.Repeat("ActiveClient = h,1\n", 11))
	const want = "f, line 11 has an ActiveClient parameter, but we already have 10 active clients"
	if len(f.Active) != 10 || len(problems) != 1 || problems[0] != want {
		t.Errorf("%d targets, %q", len(f.Active), problems)
	}
	f, problems = readFile(t, strings.Repeat("PassiveClient = "+strings.Repeat("x", 1000)+"\n", 64))
	if len(f.Allow.Entries) != 63 || len(problems) != 1 || !strings.HasSuffix(problems[0], "line 64 has a PassiveClient parameter with a host name that doesn't fit") {
		t.Errorf("%d entries, %q", len(f.Allow.Entries), problems)
	}
}

func TestCase117Apply(t *testing.T) {
	s := Settings{NullAuth: true, Active: []Target{{"a", "1"}}}
	var err error
	if s.Allow, err = parseAllowList("x"); err != nil {
		t.Fatal(err)
	}
	f, _ := readFile(t, "ActiveClient = b 2\n")
	if s.Apply(f); !s.NullAuth || len(s.Allow.Entries) != 0 || !cmp.Equal(s.Active, []Target{{"b", "2"}}) {
		t.Errorf("%+v", s)
	}
	f, _ = readFile(t, "NullAuthPermit = NO\n")
	if s.Apply(f); s.NullAuth || s.Active != nil {
		t.Errorf("%+v", s)
	}
}

// What the reference writes for -s f -l a,b -a h,2003,h2 -n.
const saved = `# Configuration file help.

# Hosts which are allowed to connect to this server (passive mode)
# Format: PassiveClient = <name or address>

PassiveClient = a
PassiveClient = b


# Hosts to which this server is trying to connect to (active mode)
# Format: ActiveClient = <name or address>, <port | DEFAULT>

ActiveClient = h, 2003
ActiveClient = h2, 2003


# Permit NULL authentication: YES or NO

NullAuthPermit = YES
`

func TestCase110Save(t *testing.T) {
	c, err := Parse([]string{"-l", "a,b", "-a", "h,2003,h2", "-n"})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := c.Save(&b); err != nil || b.String() != saved {
		t.Errorf("%v\n%s", err, b.String())
	}
}

// Settings that were read, saved and read again are the same.
func FuzzReadFile(f *testing.F) {
	f.Add([]byte(saved))
	f.Add([]byte("\tActiveClient=h , DEFAULT#c\r\nPassiveClient = ::1;10.0.0.0/99\nNullAuthPermit=\x00"))
	f.Add([]byte("a=b\n" + strings.Repeat("x", 5000) + "\nPassiveClient = last"))
	f.Fuzz(func(t *testing.T, text []byte) {
		file, problems, err := ReadFile(bytes.NewReader(text), "f")
		if err != nil {
			t.Fatal(err)
		}
		if lines := bytes.Count(text, []byte("\n")) + 1; len(problems) > lines || len(file.Active) > MaxTargets || len(file.Allow.String()) > maxAllowList {
			t.Fatalf("%d problems in %d lines, %d targets", len(problems), lines, len(file.Active))
		}
		var s, again Settings
		s.Apply(file)
		var b bytes.Buffer
		if err := s.Save(&b); err != nil {
			t.Fatal(err)
		}
		file, _, err = ReadFile(&b, "f") // a problem that stays is an entry that never matches
		if err != nil {
			t.Fatal(err)
		}
		again.Apply(file)
		if diff := cmp.Diff(s, again, comparable); diff != "" {
			t.Fatal(diff)
		}
	})
}
