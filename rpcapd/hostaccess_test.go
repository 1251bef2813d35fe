//go:build linux

package main

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"capstan/pkg/hostaccess"
)

// TestTellHostAccess holds that each missing access is told, with its cost, and
// nothing that is there.
func TestTellHostAccess(t *testing.T) {
	for _, name := range (hostaccess.Access{}).Missing() {
		if disrupted[name] == "" {
			t.Errorf("nothing is said of what %s disrupts", name)
		}
	}
	access, err := hostaccess.Find()
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	tellHostAccess(slog.New(slog.NewTextHandler(&log, nil)))
	if got, want := strings.Count(log.String(), "level=WARN"), len(access.Missing()); got != want {
		t.Errorf("%d warnings, want %d:\n%s", got, want, log.String())
	}
	for _, name := range access.Missing() {
		if !strings.Contains(log.String(), name+" is missing") {
			t.Errorf("nothing about %s:\n%s", name, log.String())
		}
	}
}
