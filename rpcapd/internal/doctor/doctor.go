//go:build linux

package doctor

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"capstan/rpcapd/internal/config"
)

// Usage is the text of --help.
const Usage = `USAGE: rpcapd doctor [--json] [--ring-size MIB]

Tries what a capture needs, in this process, with its capabilities, and says
what each thing that is refused costs and how to get it. Start it where the
daemon is to run: in its unit, container or pod.

  --json           print the report as JSON
  --ring-size MIB  the ring to try (default: the daemon's)

EXIT STATUS: 0 this process can capture; 1 it can't; 2 bad usage.
`

// The exit statuses.
const (
	canCapture    = 0
	cannotCapture = 1
	badUsage      = 2
)

// Run is the command. It returns the exit status.
func Run(args []string, stdout, stderr io.Writer) int {
	f := flag.NewFlagSet("doctor", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	asJSON := f.Bool("json", false, "")
	ringMiB := f.Int("ring-size", config.Default().RingMiB, "")
	err := f.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(stdout, Usage)
		return canCapture
	}
	if err == nil && f.NArg() > 0 {
		err = fmt.Errorf("%q is no option", f.Arg(0))
	}
	if err == nil && *ringMiB < 1 {
		err = fmt.Errorf("--ring-size %d is not positive", *ringMiB)
	}
	if err != nil {
		fmt.Fprintf(stderr, "rpcapd doctor: %v\n", err)
		return badUsage
	}
	report := Examine(*ringMiB)
	if *asJSON {
		encoder := json.NewEncoder(stdout)
		encoder.SetIndent("", "  ")
		err = encoder.Encode(report)
	} else {
		_, err = io.WriteString(stdout, report.Text())
	}
	switch {
	case err != nil:
		fmt.Fprintf(stderr, "rpcapd doctor: %v\n", err)
		return cannotCapture
	case report.CanCapture:
		return canCapture
	}
	return cannotCapture
}

// Text returns the report for people.
func (r Report) Text() string {
	var s strings.Builder
	for _, c := range r.Checks {
		mark := "ok      "
		switch {
		case !c.OK && c.Needed:
			mark = "MISSING "
		case !c.OK:
			mark = "optional"
		}
		fmt.Fprintf(&s, "%s  %s: %s\n", mark, c.Name, c.Detail)
		if c.OK {
			continue
		}
		fmt.Fprintf(&s, "          costs:      %s\n", c.Cost)
		for _, line := range []struct{ where, what string }{
			{"host:      ", c.Remedy.Host}, {"systemd:   ", c.Remedy.Systemd}, {"container: ", c.Remedy.Container}, {"Kubernetes:", c.Remedy.Kubernetes},
		} {
			if line.what != "" {
				fmt.Fprintf(&s, "          %s %s\n", line.where, line.what)
			}
		}
	}
	if r.CanCapture {
		fmt.Fprintf(&s, "This process can capture (Linux %s).\n", r.Kernel)
	} else {
		fmt.Fprintf(&s, "This process can't capture (Linux %s).\n", r.Kernel)
	}
	return s.String()
}
