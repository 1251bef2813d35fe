package command

import (
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"capstan/interceptor/internal/config"
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
			if _, err := r.policy(c); err != nil {
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
