//go:build linux

package server

import (
	"context"
	"os/exec"
	"strings"
	"time"
)

const versionTimeout = 5 * time.Second

// Version asks a program for its version: the first lines of --version, or, if
// it knows no such option, the lines of -h that speak of versions. It returns ""
// if the program doesn't tell.
func Version(ctx context.Context, program string) string {
	ctx, cancel := context.WithTimeout(ctx, versionTimeout)
	defer cancel()
	if out, err := exec.CommandContext(ctx, program, "--version").CombinedOutput(); err == nil {
		return join(out, func(string) bool { return true })
	}
	out, err := exec.CommandContext(ctx, program, "-h").CombinedOutput()
	if err != nil {
		return ""
	}
	return join(out, func(line string) bool {
		return strings.Contains(line, "version") || strings.HasPrefix(line, "Compiled with")
	})
}

// join returns the lines up to the first empty one, at most three of those
// wanted.
func join(out []byte, want func(line string) bool) string {
	var kept []string
	for line := range strings.Lines(string(out)) {
		line = strings.TrimSpace(line)
		if line == "" || len(kept) == 3 {
			break
		}
		if want(line) {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "; ")
}
