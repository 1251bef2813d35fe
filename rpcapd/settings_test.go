//go:build linux

package main

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"capstan/rpcapd/internal/config"
)

// TestDamagedSettings: a configuration file that is wrong, too long or without
// end neither lets more hosts in than before nor floods the log.
func TestDamagedSettings(t *testing.T) {
	before, err := config.Parse([]string{"-l", "192.0.2.1"})
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, text, hosts, told string
	}{
		{"misspelt", "PasiveClient = 10.0.0.1\n", "192.0.2.1", "stay as they were"},
		{"no host", "PassiveClient = ;,\n", "192.0.2.1", "stay as they were"},
		{"one host right", "PassiveClient = 10.0.0.1\nrubbish\n", "10.0.0.1", "line 2"},
		{"nothing wrong", "NullAuthPermit = NO\n", "", ""},
		{"rubbish", strings.Repeat("rubbish\n", 1000), "192.0.2.1", "has 980 more lines that are wrong"},
		{"too long", strings.Repeat("#", maxSettingsFile+1), "192.0.2.1", "is longer than"},
	} {
		path := filepath.Join(t.TempDir(), "f")
		if err := os.WriteFile(path, []byte(tc.text), 0o600); err != nil {
			t.Fatal(err)
		}
		var log bytes.Buffer
		settings := before.Settings
		settingsFiles{load: path, log: slog.New(slog.NewTextHandler(&log, nil))}.read(&settings)
		lines := strings.Count(log.String(), "\n")
		if settings.Allow.String() != tc.hosts || !strings.Contains(log.String(), tc.told) || tc.told == "" && lines > 0 || lines > maxProblems+2 {
			t.Errorf("%s: hosts %q, %d lines: %.300s", tc.name, settings.Allow.String(), lines, log.String())
		}
	}
	settings := before.Settings
	var log bytes.Buffer
	settingsFiles{load: "/dev/zero", log: slog.New(slog.NewTextHandler(&log, nil))}.read(&settings)
	if !strings.Contains(log.String(), "is longer than") {
		t.Errorf("a file without end: %s", log.String())
	}
}
