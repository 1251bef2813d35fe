package command

import (
	"errors"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"capstan/interceptor/internal/config"
)

// number is the value of a flag that not every number suits: those that packages
// would take for their default are refused.
type number struct {
	pflag.Value
	positive bool // 0 doesn't suit, either
}

// Set implements pflag.Value.
func (n number) Set(text string) error {
	if err := n.Value.Set(text); err != nil {
		switch n.Type() {
		case "int", "int64":
			return errors.New("is no whole number, or too large")
		case "duration":
			return errors.New("is no time: write one such as 500ms, 10s or 5m")
		}
		return err
	}
	switch now := n.String(); {
	case strings.HasPrefix(now, "-"):
		return errors.New("is negative")
	case n.positive && (now == "0" || now == "0s"):
		return errors.New("has to be more than 0")
	}
	return nil
}

// size is the value of a flag that is a number of bytes, which may have a unit.
type size struct{ pflag.Value }

// Set implements pflag.Value.
func (s size) Set(text string) error {
	var n config.Size
	if err := n.UnmarshalText([]byte(text)); err != nil {
		return err
	}
	return s.Value.Set(strconv.FormatInt(int64(n), 10))
}

// Type implements pflag.Value: it is what help calls the value.
func (size) Type() string { return config.SizeType }

// truth is the value of a flag that is on or off.
type truth struct{ pflag.Value }

// Set implements pflag.Value.
func (t truth) Set(text string) error {
	if t.Value.Set(text) != nil {
		return errors.New("is neither true nor false")
	}
	return nil
}

// truths has all flags that are on or off say so.
func truths(flags *pflag.FlagSet) {
	flags.VisitAll(func(f *pflag.Flag) {
		if _, ok := f.Value.(truth); !ok && f.Value.Type() == "bool" {
			f.Value = truth{f.Value}
		}
	})
}

// sizes has the flags with these names take units.
func sizes(flags *pflag.FlagSet, names ...string) {
	for _, name := range names {
		f := flags.Lookup(name)
		f.Value = size{f.Value}
	}
}

// positive has the flags with these names refuse 0 and less.
func positive(flags *pflag.FlagSet, names ...string) { bound(flags, true, names) }

// notNegative has the flags with these names refuse what is less than 0.
func notNegative(flags *pflag.FlagSet, names ...string) { bound(flags, false, names) }

func bound(flags *pflag.FlagSet, positive bool, names []string) {
	for _, name := range names {
		f := flags.Lookup(name)
		f.Value = number{f.Value, positive}
		if f.DefValue == "0s" {
			f.DefValue = "0" // which help doesn't tell
		}
	}
}
