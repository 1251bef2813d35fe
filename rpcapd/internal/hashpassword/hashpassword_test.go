package hashpassword

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// run runs the command with input that is no terminal.
func run(t *testing.T, input string, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := w.WriteString(input); err != nil {
		t.Fatal(err)
	}
	w.Close()
	var out, errs bytes.Buffer
	status = Run(args, r, &out, &errs)
	return out.String(), errs.String(), status
}

func TestPipe(t *testing.T) {
	for _, tc := range []struct {
		input  string
		args   []string
		status int
		stdout string // beginning
		stderr string // part
	}{
		{"correct horse\r\nmore\n", []string{"alice"}, 0, "alice:$argon2id$v=19$", ""},
		{"correct horse", []string{"alice"}, 0, "alice:$argon2id$v=19$", ""},
		{"short\n", []string{"alice"}, 1, "", "shorter than 8 bytes"},
		{"", []string{"alice"}, 1, "", "shorter than 8 bytes"},
		{strings.Repeat("x", 600), []string{"alice"}, 1, "", "longer than 512 bytes"},
		{"correct horse\n", []string{"a:b"}, 1, "", "the name is empty"},
		{"", nil, 1, "", "USAGE: rpcapd hash-password NAME"},
		{"", []string{"a", "b"}, 1, "", "USAGE: rpcapd hash-password NAME"},
		{"", []string{"--help"}, 0, "USAGE: rpcapd hash-password NAME", ""},
	} {
		stdout, stderr, status := run(t, tc.input, tc.args...)
		if status != tc.status || !strings.HasPrefix(stdout, tc.stdout) || !strings.Contains(stderr, tc.stderr) || (tc.stdout == "") != (stdout == "") {
			t.Errorf("%.20q %q: %d, %q, %q", tc.input, tc.args, status, stdout, stderr)
		}
		if strings.Contains(stdout+stderr, "correct horse") {
			t.Errorf("the password shows: %q %q", stdout, stderr)
		}
	}
}

// terminal returns the two ends of a pseudo terminal.
func terminal(t *testing.T) (keyboard, tty *os.File) {
	t.Helper()
	keyboard, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { keyboard.Close() })
	if err := unix.IoctlSetPointerInt(int(keyboard.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(keyboard.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tty.Close() })
	return keyboard, tty
}

// typist answers each prompt when it is shown, which is when echo is going
// off; what is typed before is kept by the terminal, so no time matters.
type typist struct {
	bytes.Buffer
	keyboard io.Writer
	lines    []string
}

func (p *typist) Write(b []byte) (int, error) {
	if strings.HasSuffix(string(b), ": ") && len(p.lines) > 0 {
		_, _ = io.WriteString(p.keyboard, p.lines[0]+"\n")
		p.lines = p.lines[1:]
	}
	return p.Buffer.Write(b)
}

func TestTerminal(t *testing.T) {
	for _, tc := range []struct {
		first, second string
		status        int
		stderr        string
	}{
		{"correct horse", "correct horse", 0, "Password: \nAgain: \n"},
		{"correct horse", "correct h0rse", 1, "Password: \nAgain: \nrpcapd hash-password: the two passwords differ\n"},
	} {
		keyboard, tty := terminal(t)
		prompts := &typist{keyboard: keyboard, lines: []string{tc.first, tc.second}}
		var out bytes.Buffer
		status := Run([]string{"alice"}, tty, &out, prompts)
		if status != tc.status || prompts.String() != tc.stderr || strings.HasPrefix(out.String(), "alice:$argon2id$") != (status == 0) {
			t.Errorf("%d, %q, %q", status, out.String(), prompts.String())
		}
		if term, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS); err != nil || term.Lflag&unix.ECHO == 0 {
			t.Errorf("echo stays off: %v", err)
		}
	}
}
