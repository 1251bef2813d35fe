package command

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"capstan/interceptor/internal/api"
	"capstan/interceptor/internal/config"
	"capstan/interceptor/internal/egress"
)

func configCommand(s streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Check and show configurations",
		Long: `config works with the files that run and read take as --config: YAML with the
flags of run as keys, _ for -, and the keys sinks, rules and body_types. A flag
on the command line comes before an environment variable (CAPSTAN_BODY_LIMIT for
--body-limit), which comes before the file.
` + exitHelp,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return usageError{fmt.Errorf("which one: check, show or schema?")}
		},
	}
	cmd.AddCommand(
		withConfig("check FILE", "Tell what is wrong with a file", func(r *runFlags, c *settings, _ *pflag.FlagSet) error {
			if err := r.wrongs(c); err != nil {
				return usageError{err}
			}
			_, err := fmt.Fprintln(s.out, c.path+": ok")
			return err
		}),
		withConfig("show [FILE]", "Print what holds: file, environment and defaults together", func(_ *runFlags, c *settings, flags *pflag.FlagSet) error {
			text, err := config.Show(effective(flags), options(), c.file)
			if err == nil {
				_, err = s.out.Write(text)
			}
			return err
		}),
		&cobra.Command{
			Use: "schema", Short: "Print the JSON schema of files", Args: cobra.NoArgs,
			RunE: func(*cobra.Command, []string) error {
				text, err := config.Schema(options())
				if err == nil {
					_, err = s.out.Write(text)
				}
				return err
			},
		})
	return cmd
}

// wrongs tells all that is wrong with what r says, by itself: nothing is opened, and nobody asked.
func (r *runFlags) wrongs(c *settings) error {
	_, errPolicy := r.policy(c)
	_, errLog := newLogger(io.Discard, r.logFormat)
	_, errColor := useColor(io.Discard, r.output.color)
	_, errFormat := encoder(r.output.format, false)
	_, errMode := api.SocketMode(r.api.mode)
	_, errProxy := egress.New(egress.Config{HTTPSProxy: r.sinks.collector.HTTPSProxy})
	list, errSinks := r.sinks.sinks(c.file)
	_, errStdout := r.stdoutFormat(c, list)
	errs := []error{
		errPolicy, errSinks, c.wrong("log_format", errLog), c.wrong("color", errColor), c.wrong("output", errors.Join(errFormat, errStdout)),
		c.wrong("api_socket_mode", errMode), c.wrong("https_proxy", errProxy), c.wrong("shards", r.check()), c.wrong("filter", r.server.checkFilter()),
		c.wrong("api_address", checkAddress(r.api.address)), c.wrong("listen", checkAddress(r.server.listen)),
	}
	if !strings.HasPrefix(r.metricsAddress, "unix:") {
		errs = append(errs, c.wrong("metrics_address", checkAddress(r.metricsAddress)))
	}
	if r.sinks.collector.Address != "" {
		errs = append(errs, c.wrong("collector", r.sinks.collector.Check()))
	}
	for _, text := range r.sources {
		_, err := parseSource(text)
		errs = append(errs, c.wrong("source", err))
	}
	if r.captures = len(r.sources); r.memory > 0 {
		errs = append(errs, c.wrong("memory", r.checkMemory(uint64(r.memory))))
	}
	return errors.Join(errs...)
}

// checkAddress tells what is wrong with an address to listen on; there may be none.
func checkAddress(text string) error {
	if _, _, err := net.SplitHostPort(text); text != "" && err != nil {
		return fmt.Errorf("%q is not HOST:PORT", text)
	}
	return nil
}

// withConfig is a command that reads a file as run would.
func withConfig(use, short string, do func(*runFlags, *settings, *pflag.FlagSet) error) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			flags := pflag.NewFlagSet("run", pflag.ContinueOnError)
			var r runFlags
			r.register(flags)
			if len(args) == 1 {
				if err := flags.Set(configFlag, args[0]); err != nil {
					return err
				}
			}
			c, err := loadSettings(flags)
			if err != nil {
				return err
			}
			if c.path == "" && use != "show [FILE]" {
				return usageError{fmt.Errorf("which file?")}
			}
			return do(&r, c, flags)
		},
	}
}
