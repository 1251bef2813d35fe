package command

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"capstan/interceptor/internal/config"
)

// envPrefix begins the names of environment variables that stand for flags:
// CAPSTAN_BODY_LIMIT for --body-limit.
const envPrefix = "CAPSTAN_"

// configFlag is the flag that names the configuration file.
const configFlag = "config"

// key is how a flag is called in a file.
func key(flag string) string { return strings.ReplaceAll(flag, "-", "_") }

// options are the flags that a file may set: those of run.
func options() []config.Option {
	flags := pflag.NewFlagSet("run", pflag.ContinueOnError)
	new(runFlags).register(flags)
	var list []config.Option
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Name == configFlag {
			return
		}
		_, isList := f.Value.(pflag.SliceValue)
		_, usage := pflag.UnquoteUsage(f)
		list = append(list, config.Option{Key: key(f.Name), List: isList, Type: f.Value.Type(), Doc: usage})
	})
	return list
}

// settings tell a command's flags what the command line does not: the
// environment, then the configuration file.
type settings struct {
	overrides []config.Setting // of command line and environment
	path      string           // of the file, "" for none
	file      *config.File
}

// loadSettings completes flags, which hold the command line.
func loadSettings(flags *pflag.FlagSet) (*settings, error) {
	var s settings
	var errs []error
	flags.VisitAll(func(f *pflag.Flag) {
		variable := envPrefix + strings.ToUpper(key(f.Name))
		if text, ok := os.LookupEnv(variable); ok && !f.Changed {
			if err := flags.Set(f.Name, text); err != nil {
				errs = append(errs, usageError{fmt.Errorf("%s in the environment: %w", variable, err)})
			}
		}
		if f.Changed {
			s.overrides = append(s.overrides, config.Setting{Key: key(f.Name), Values: values(f)})
		}
	})
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	s.path = flags.Lookup(configFlag).Value.String()
	return &s, s.readFile(flags)
}

// reload returns the settings as the file is now, and completes flags, which
// are new.
func (s *settings) reload(flags *pflag.FlagSet) (*settings, error) {
	again := &settings{overrides: s.overrides, path: s.path}
	if err := again.override(flags); err != nil {
		return nil, err
	}
	return again, again.readFile(flags)
}

// override sets what command line and environment say.
func (s *settings) override(flags *pflag.FlagSet) error {
	var errs []error
	for _, o := range s.overrides {
		errs = append(errs, set(flags, o))
	}
	return errors.Join(errs...)
}

func (s *settings) readFile(flags *pflag.FlagSet) error {
	s.file = &config.File{}
	if s.path == "" {
		return nil
	}
	file, err := config.Load(s.path, options())
	switch {
	case errors.As(err, new(*fs.PathError)):
		return cannotStartError{err}
	case err != nil:
		return usageError{err}
	}
	s.file = file
	return s.apply(flags)
}

// wrong returns err, if there is one, with where the value of the option key was said last.
func (s *settings) wrong(key string, err error) error {
	if err == nil {
		return nil
	}
	has := func(o config.Setting) bool { return o.Key == key }
	if i := slices.IndexFunc(s.file.Settings, has); i >= 0 && !slices.ContainsFunc(s.overrides, has) {
		return s.file.Wrong(s.file.Settings[i], err)
	}
	return fmt.Errorf("%s: %w", key, err)
}

// apply sets what only the file says.
func (s *settings) apply(flags *pflag.FlagSet) error {
	var errs []error
	for _, setting := range s.file.Settings {
		f := flags.Lookup(strings.ReplaceAll(setting.Key, "_", "-"))
		if f == nil || f.Changed {
			continue // of run, and this is read; or overridden
		}
		if err := set(flags, setting); err != nil {
			errs = append(errs, s.file.Wrong(setting, err))
		}
	}
	if len(errs) > 0 {
		return usageError{errors.Join(errs...)}
	}
	return nil
}

// set gives a flag its values.
func set(flags *pflag.FlagSet, s config.Setting) error {
	f := flags.Lookup(strings.ReplaceAll(s.Key, "_", "-"))
	var err error
	if list, ok := f.Value.(pflag.SliceValue); ok {
		err = list.Replace(s.Values)
	} else {
		err = f.Value.Set(s.Values[0])
	}
	f.Changed = err == nil
	return err
}

// values are those of a flag, as texts.
func values(f *pflag.Flag) []string {
	if list, ok := f.Value.(pflag.SliceValue); ok {
		return list.GetSlice()
	}
	return []string{f.Value.String()}
}

// userinfo is what of a URL nobody else should see.
var userinfo = regexp.MustCompile(`://([^/@:]*):[^/@]*@`)

// effective are the values of all options, without passwords.
func effective(flags *pflag.FlagSet) []config.Setting {
	var list []config.Setting
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Name == configFlag {
			return
		}
		s := config.Setting{Key: key(f.Name)}
		for _, text := range values(f) {
			s.Values = append(s.Values, userinfo.ReplaceAllString(text, "://$1:***@"))
		}
		list = append(list, s)
	})
	return list
}
