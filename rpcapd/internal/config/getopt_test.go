package config

import (
	"fmt"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"

	"capstan/pkg/netns/netnstest"
)

// The words of the command line mean what getopt_long(3) takes them for, and
// are refused with its texts; getopt(1) is a shell's way to call it.
func TestGetoptIsTheLibrarys(t *testing.T) {
	netnstest.RequireProgram(t, "getopt")
	var letters strings.Builder
	var longs []string
	var got []string // the options as they are met
	recording := make([]option, len(options))
	for i, o := range options {
		colon := ""
		if o.arg != "" {
			colon = ":"
		}
		if o.short != 0 {
			letters.WriteString(string(o.short) + colon)
		}
		if o.long != "" {
			longs = append(longs, o.long+colon)
		}
		recording[i] = o
		recording[i].set = func(_ *values, arg string) error {
			name := "--" + o.long
			if o.short != 0 {
				name = "-" + string(o.short)
			}
			if got = append(got, name); o.arg != "" {
				got = append(got, arg)
			}
			return nil
		}
	}
	words := []string{"-n", "-4D", "-p", "2002", "-p2", "-np", "-b::1", "--", "-", "stray", "-Z", "-nZ", "--ring-size", "--ring-size=4", "--ring",
		"--ma", "--version", "--version=1", "--vers", "--no", "-l", "a,b", "", "=", "-p=1", "-t-", "--unix-allow", "--data=3s", "-iv"}
	random := rand.New(rand.NewPCG(4, 2))
	for range 200 {
		args := make([]string, random.IntN(5))
		for i := range args {
			args[i] = words[random.IntN(len(words))]
		}
		got = nil
		rest, err := getopt(recording, args, nil)
		cmd := exec.Command("getopt", append([]string{"-u", "-n", "rpcapd", "-o", letters.String(), "-l", strings.Join(longs, ","), "--"}, args...)...)
		cmd.Env = append(cmd.Environ(), "LC_ALL=C")
		var stderr strings.Builder
		cmd.Stderr = &stderr
		stdout, _ := cmd.Output() // its status is judged by what it says
		if err != nil {
			// getopt(1) goes on after the first mistake.
			if first, _, _ := strings.Cut(stderr.String(), "\n"); first != "rpcapd: "+err.Error() {
				t.Errorf("%q: %v, the library says %q", args, err, first)
			}
			continue
		}
		want := strings.TrimRight(string(stdout), "\n")
		have := " " + strings.Join(append(append(got, "--"), rest...), " ")
		if stderr.Len() > 0 || have != want {
			t.Errorf("%q: %q, the library says %q %s", args, have, want, fmt.Sprint(stderr.String()))
		}
	}
}
