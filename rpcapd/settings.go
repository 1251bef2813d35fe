//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"

	"capstan/pkg/smallfile"
	"capstan/rpcapd/internal/config"
)

// settingsFiles are the configuration files of -f and -s; a path may be empty.
type settingsFiles struct {
	load, save string
	log        *slog.Logger
}

// start writes the settings of the command line, then reads those of the file.
// Neither failing keeps the daemon from running, as with the reference, which
// doesn't tell.
func (f settingsFiles) start(s *config.Settings) {
	if f.save != "" {
		if err := save(f.save, *s); err != nil {
			f.log.Error("Error when saving the configuration to file", "err", err)
		}
	}
	f.read(s)
}

func save(path string, s config.Settings) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := s.Save(file); err != nil {
		file.Close()
		return err
	}
	return file.Close()
}

// Bounds of a configuration file: its length, and how many wrong lines of it
// are told.
const (
	maxSettingsFile = 1 << 20
	maxProblems     = 20
)

// read changes s to what the file says. If it can't be read, s stays.
//
// Deviation: a list of hosts that may connect stays, too, if the file has none
// and is wrong elsewhere; with the reference a misspelt line lets in everybody.
func (f settingsFiles) read(s *config.Settings) {
	if f.load == "" {
		return
	}
	text, err := smallfile.Read(f.load, maxSettingsFile)
	if err != nil {
		f.log.Error("the configuration file is not read", "err", err)
		return
	}
	content, problems, err := config.ReadFile(bytes.NewReader(text), f.load)
	if err != nil {
		f.log.Error("the configuration file is not read", "err", err)
		return
	}
	for i, p := range problems {
		if i == maxProblems {
			f.log.Error(fmt.Sprintf("%s has %d more lines that are wrong", f.load, len(problems)-i))
			break
		}
		f.log.Error(p)
	}
	if len(problems) > 0 && len(content.Allow.Entries) == 0 && len(s.Allow.Entries) > 0 {
		f.log.Warn("the hosts that may connect stay as they were, since the file names none and is wrong elsewhere", "file", f.load, "hosts", s.Allow.String())
		content.Allow = s.Allow
	}
	s.Apply(content)
	f.log.Debug("New passive host list: " + s.Allow.String())
}

// answerHangups reads the file for each SIGHUP that comes in by hangups, until
// ctx ends, and hands what s has become to apply; reload does the same for
// other files.
func (f settingsFiles) answerHangups(ctx context.Context, hangups <-chan os.Signal, s config.Settings, apply func(config.Settings), reload func()) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangups:
			reload()
			if f.load == "" {
				f.log.Info("SIGHUP: no configuration file to read again without -f")
				continue
			}
			f.read(&s)
			apply(s)
			f.log.Info("configuration read again", "file", f.load)
		}
	}
}
