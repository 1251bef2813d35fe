package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"capstan/bench/internal/contain"
	"capstan/bench/internal/report"
	"capstan/bench/internal/server"
	"capstan/bench/internal/suite"
	"capstan/bench/internal/traffic"
	"capstan/bench/internal/trial"
)

// serverFlags are the flags of "bench server".
type serverFlags struct {
	servers     []string
	add         []string
	facts       []string
	sizes       []string
	kind        string
	vlan        []uint
	rates       []string
	pin         bool
	readTimeout time.Duration
	output      string
	format      string
	name        string
	plan        suite.Plan
}

func serverCommand(stdout, stderr io.Writer) *cobra.Command {
	var f serverFlags
	cmd := &cobra.Command{
		Use:   "server",
		Short: "Measure what capture servers cost and lose",
		Long: `Measures servers under the same traffic in the same session, interleaved, each
in network namespaces of its own: processor time per delivered frame, loss and
where, latency, memory, system calls; the highest rate without loss; and what
the work would cost at best. Needs root.

A server is NAME=TRANSPORT:COMMAND, its words between blanks, with TRANSPORT one
of tcp, unix, tls, udp (RPCAP servers), and local (a capture that counts itself
and says so as tcpdump and dumpcap do). In the command are replaced {port},
{socket}, {interface}, {cert}, {key} and {dir}. The first server is the one that
others are compared with:

  bench server --server 'a=unix:rpcapd --unix-socket {socket}' \
               --server 'b=tcp:/opt/other/rpcapd -n -b 127.0.0.1 -p {port}' \
               --server 'c=local:tcpdump -i {interface} -w /dev/null'

Without --server: rpcapd beside this program over a unix socket and over TCP, and
tcpdump if it is installed. --add adds to these.`,
		Args: cobra.NoArgs,
	}
	bin := binaries(cmd)
	flags := cmd.Flags()
	flags.StringArrayVar(&f.servers, "server", nil, "a server to measure (repeatable)")
	flags.StringArrayVar(&f.add, "add", nil, "a server to measure besides the default ones (repeatable)")
	flags.StringSliceVar(&f.sizes, "sizes", []string{"60", "400", "1400"}, "lengths of frames: numbers, imix or file:PATH")
	flags.StringVar(&f.kind, "kind", "udp", "udp or tcp")
	flags.UintSliceVar(&f.vlan, "vlan", nil, "802.1Q identifiers that flows take in turn")
	flags.StringSliceVar(&f.rates, "rates", []string{"100000", "300000", "max"}, "frames per second; max = flat out")
	flags.IntVar(&f.plan.Flows, "flows", 64, "flows that take turns")
	flags.IntVar(&f.plan.Burst, "burst", 0, "frames sent back to back; 0 = as few as the clock allows")
	flags.IntVar(&f.plan.Runs, "runs", 0, "runs of each; 0 = as many as fit the budget, 3 to 5")
	flags.DurationVar(&f.plan.Duration, "duration", 800*time.Millisecond, "traffic of one run")
	flags.IntVar(&f.plan.SearchSteps, "search-steps", 7, "most steps of the search for the highest rate without loss; 0 = no search")
	flags.DurationVar(&f.plan.LoneTime, "lone-time", 3*time.Second, "how long lone frames are sent in a run; 0 = not at all")
	flags.IntVar(&f.plan.Repeats, "repeats", 2, "how often to make a trial again during which other processes kept the host busy, if there is time")
	flags.DurationVar(&f.plan.Budget, "budget", 570*time.Second, "end the session after this time, and say what is missing")
	flags.DurationVar(&f.readTimeout, "read-timeout", 20*time.Millisecond, "how long servers may keep a frame back")
	flags.BoolVar(&f.pin, "pin", true, "generator on the last processor, server and sink on the others")
	flags.StringArrayVar(&f.facts, "fact", nil, "NAME=TEXT: something to report with a server's version (repeatable)")
	flags.StringVarP(&f.output, "output", "o", "", "directory for NAME.json, NAME.md and NAME.txt (benchstat)")
	flags.StringVar(&f.name, "name", "report", "name of these files")
	flags.StringVar(&f.format, "format", string(report.Text), "what to print: text, markdown, json, benchstat")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := trial.CheckPrivilege(); err != nil {
			return err
		}
		if len(f.servers) == 0 {
			rpcapd, _ := bin()
			f.servers = defaultServers(rpcapd)
		}
		f.servers = append(f.servers, f.add...)
		if err := f.complete(cmd.Flags()); err != nil {
			return err
		}
		return f.run(cmd.Context(), stdout, stderr)
	}
	return cmd
}

func defaultServers(rpcapd string) []string {
	list := []string{
		"capstan-unix=unix:" + rpcapd + " --unix-socket {socket}",
		"capstan-tcp=tcp:" + rpcapd + " -n -b 127.0.0.1 -p {port}",
	}
	if _, err := exec.LookPath("tcpdump"); err == nil {
		list = append(list, "tcpdump=local:tcpdump -n -i {interface} -w /dev/null")
	}
	return list
}

// complete makes a plan of what flags say.
func (f *serverFlags) complete(flags *pflag.FlagSet) error {
	for _, text := range f.servers {
		spec, err := server.ParseSpec(text)
		if err != nil {
			return err
		}
		path, err := exec.LookPath(spec.Command[0])
		if err == nil {
			path, err = filepath.Abs(path)
		}
		if err != nil {
			return fmt.Errorf("server %s: %w", spec.Name, err)
		}
		spec.Command[0] = path
		f.plan.Servers = append(f.plan.Servers, spec)
	}
	for _, text := range f.sizes {
		size, err := traffic.ParseSize(text)
		if err != nil {
			return err
		}
		f.plan.Sizes = append(f.plan.Sizes, size)
	}
	for _, text := range f.rates {
		rate := 0.0
		if text != "max" {
			var err error
			if rate, err = strconv.ParseFloat(text, 64); err != nil || rate <= 0 {
				return fmt.Errorf("rate %q is neither a number above 0 nor max", text)
			}
		}
		f.plan.Rates = append(f.plan.Rates, rate)
	}
	var err error
	if f.plan.Kind, err = traffic.ParseKind(f.kind); err != nil {
		return err
	}
	f.plan.VLAN = vlanIDs(f.vlan)
	f.plan.Facts = make(map[string]string)
	for _, text := range f.facts {
		name, fact, ok := strings.Cut(text, "=")
		if !ok {
			return fmt.Errorf("fact %q: want NAME=TEXT", text)
		}
		f.plan.Facts[name] = fact
	}
	f.plan.Command = f.command(flags)
	return errors.Join(f.plan.Validate(), f.checkOutput())
}

// maxReadTimeout is what servers and the limits are asked for at most.
const maxReadTimeout = 10 * time.Second

// checkOutput finds before the measurement what would spoil it in the end.
func (f *serverFlags) checkOutput() error {
	if f.readTimeout <= 0 || f.readTimeout > maxReadTimeout {
		return fmt.Errorf("read timeout %v: want more than 0 and at most %v", f.readTimeout, maxReadTimeout)
	}
	if err := report.Format(f.format).Validate(); err != nil {
		return err
	}
	if f.name != filepath.Base(f.name) || f.name == "." {
		return fmt.Errorf("name %q: want that of a file without a directory", f.name)
	}
	if f.output == "" {
		return nil
	}
	if err := os.MkdirAll(f.output, 0o755); err != nil {
		return err
	}
	return unix.Access(f.output, unix.W_OK)
}

// command repeats the measurement, without directories of this machine.
func (f *serverFlags) command(flags *pflag.FlagSet) string {
	words := []string{"bench server"}
	flags.Visit(func(flag *pflag.Flag) {
		switch flag.Name {
		case "server", "add":
			from := f.plan.Servers
			if flag.Name == "add" {
				from = from[len(from)-len(f.add):]
			} else {
				from = from[:len(from)-len(f.add)]
			}
			for _, s := range from {
				words = append(words, fmt.Sprintf("--%s '%s=%s:%s'", flag.Name, s.Name, s.Transport, strings.Join(s.Public().Command, " ")))
			}
		case "bin", "output", "name", "format", "fact":
		default:
			words = append(words, "--"+flag.Name+"="+strings.Trim(flag.Value.String(), "[]"))
		}
	})
	return strings.Join(words, " ")
}

func (f *serverFlags) run(ctx context.Context, stdout, stderr io.Writer) (err error) {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	dir, err := contain.NewDir(self)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dir.Close()) }()
	cfg := trial.Config{Self: self, Dir: dir.Path(), ReadTimeout: f.readTimeout}
	if f.pin {
		cpus, err := processors()
		if err != nil {
			return err
		}
		cfg.ServerCPUs, cfg.GeneratorCPUs = trial.Split(cpus)
	}
	r, err := suite.Run(ctx, cfg, f.plan, stderr)
	if ctx.Err() != nil {
		return errors.New("interrupted before the end, so there is no report")
	}
	if err != nil {
		return err
	}
	if f.output != "" {
		err = f.save(r)
	}
	return errors.Join(err, r.Write(stdout, report.Format(f.format)))
}

// processors returns those that this process may use.
func processors() (list contain.CPUs, err error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return nil, err
	}
	for n := range 8 * len(set) * 8 {
		if set.IsSet(n) {
			list = append(list, n)
		}
	}
	return list, nil
}

func (f *serverFlags) save(r *report.Report) error {
	var errs []error
	for suffix, format := range map[string]report.Format{".json": report.JSON, ".md": report.Markdown, ".txt": report.Benchstat} {
		var b strings.Builder
		err := r.Write(&b, format)
		if err == nil {
			err = os.WriteFile(filepath.Join(f.output, f.name+suffix), []byte(b.String()), 0o644)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
