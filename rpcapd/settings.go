//go:build linux

package main

import (
	"context"
	"log/slog"
	"os"

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

// read changes s to what the file says. If it can't be read, s stays.
func (f settingsFiles) read(s *config.Settings) {
	if f.load == "" {
		return
	}
	file, err := os.Open(f.load)
	if err != nil {
		f.log.Error("the configuration file is not read", "err", err)
		return
	}
	defer file.Close()
	content, problems, err := config.ReadFile(file, f.load)
	if err != nil {
		f.log.Error("the configuration file is not read", "err", err)
		return
	}
	for _, p := range problems {
		f.log.Error(p)
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
