package config

import (
	"errors"
	"fmt"
	"strings"
)

// option is one option of the command line.
type option struct {
	short byte   // letter; 0 if there is none
	long  string // name without the dashes; "" if there is none
	arg   string // what its argument is called in the documents; "" if it has none
	set   func(v *values, arg string) error
}

// getopt goes through args as getopt_long(3) of the GNU C library does: letters
// may be bundled, a letter's argument may follow it at once or be the next
// word, a long option may be cut short as long as it is unambiguous, "--" ends
// the options, and words that are no options may stand anywhere and are
// returned. The texts of the errors are the library's; it stops at the first.
func getopt(options []option, args []string, v *values) (rest []string, err error) {
	for len(args) > 0 {
		word := args[0]
		args = args[1:]
		switch {
		case word == "--":
			return append(rest, args...), nil
		case strings.HasPrefix(word, "--"):
			args, err = longOption(options, word[2:], args, v)
		case len(word) > 1 && word[0] == '-':
			args, err = shortOptions(options, word[1:], args, v)
		default:
			rest = append(rest, word)
		}
		if err != nil {
			return nil, err
		}
	}
	return rest, nil
}

// shortOptions takes a word of bundled letters; it returns the words after the
// argument of the last.
func shortOptions(options []option, letters string, args []string, v *values) ([]string, error) {
	for i := range len(letters) {
		o := findShort(options, letters[i])
		switch {
		case o == nil:
			return nil, fmt.Errorf("invalid option -- '%c'", letters[i])
		case o.arg == "":
			if err := o.set(v, ""); err != nil {
				return nil, err
			}
		case i+1 < len(letters):
			return args, o.set(v, letters[i+1:])
		case len(args) == 0:
			return nil, fmt.Errorf("option requires an argument -- '%c'", letters[i])
		default:
			return args[1:], o.set(v, args[0])
		}
	}
	return args, nil
}

func findShort(options []option, letter byte) *option {
	for i := range options {
		if options[i].short == letter {
			return &options[i]
		}
	}
	return nil
}

func longOption(options []option, word string, args []string, v *values) ([]string, error) {
	name, value, hasValue := strings.Cut(word, "=")
	o, err := findLong(options, name)
	switch {
	case err != nil:
		return nil, err
	case o.arg == "" && hasValue:
		return nil, fmt.Errorf("option '--%s' doesn't allow an argument", o.long)
	case o.arg == "" || hasValue:
		return args, o.set(v, value)
	case len(args) == 0:
		return nil, fmt.Errorf("option '--%s' requires an argument", o.long)
	}
	return args[1:], o.set(v, args[0])
}

// findLong returns the option called name, or the only one that begins so.
func findLong(options []option, name string) (*option, error) {
	var found []*option
	for i := range options {
		switch o := &options[i]; {
		case o.long == "":
		case o.long == name:
			return o, nil
		case strings.HasPrefix(o.long, name):
			found = append(found, o)
		}
	}
	switch len(found) {
	case 0:
		return nil, fmt.Errorf("unrecognized option '--%s'", name)
	case 1:
		return found[0], nil
	}
	text := fmt.Sprintf("option '--%s' is ambiguous; possibilities:", name)
	for _, o := range found {
		text += " '--" + o.long + "'"
	}
	return nil, errors.New(text)
}
