package command

import (
	"bytes"
	"strings"
	"testing"
)

func TestHealth(t *testing.T) {
	for _, tc := range []struct {
		args   []string
		status int
		says   string
	}{
		{[]string{"health"}, ExitUsage, "--address is not given"},
		{[]string{"health", "--address", "unix:/nowhere/socket"}, ExitCannotStart, "unhealthy: dial unix /nowhere/socket"},
		{[]string{"health", "--address", "unix:/nowhere/socket", "--alive"}, ExitCannotStart, "unhealthy"},
	} {
		var stdout, stderr bytes.Buffer
		status := Run(t.Context(), tc.args, strings.NewReader(""), &stdout, &stderr)
		if status != tc.status || !strings.Contains(stderr.String(), tc.says) {
			t.Errorf("%v: %d, %q", tc.args, status, stderr.String())
		}
	}
}
