package command

import (
	"errors"
	"strings"

	"github.com/spf13/pflag"
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
