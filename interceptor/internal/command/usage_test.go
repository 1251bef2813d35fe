package command

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestWhatIsMissingIsNamed: who leaves out what a command needs is told what that is, and so
// is who says something else, of any command.
func TestWhatIsMissingIsNamed(t *testing.T) {
	nobody := filepath.Join(t.TempDir(), "api")
	for _, x := range []struct {
		args   []string
		status int
		want   string
	}{
		{[]string{"devices"}, ExitUsage, "want one URL, such as rpcap://HOST/eth0; there are 0"},
		{[]string{"dump", "a", "b"}, ExitUsage, "want one URL, such as rpcap://HOST/eth0; there are 2"},
		{[]string{"set", "--api", nobody}, ExitUsage, "set what: --filter, --device or --one-in-flows?"},
		{[]string{"watch", "--api", nobody, "--color", "x"}, ExitUsage, `--color "x" is none of auto, always, never`},
		{[]string{"watch", "--api", nobody}, ExitCannotStart, "no interceptor answers at " + nobody},
		{[]string{"status", "--json=x"}, ExitUsage, `"x" for "--json" flag: is neither true nor false`},
		{[]string{"read", "--ledger=x", "-"}, ExitUsage, `"x" for "--ledger" flag: is neither true nor false`},
		{[]string{"run", "--pprof=x"}, ExitUsage, `"x" for "--pprof" flag: is neither true nor false`},
		{[]string{"status", "--api", nobody}, ExitCannotStart, "no interceptor answers at " + nobody},
	} {
		if status, _, err := runCommandLine(t, x.args...); status != x.status || !strings.Contains(err, x.want) {
			t.Errorf("%v: %d %s; want %s", x.args, status, err, x.want)
		}
	}
}
