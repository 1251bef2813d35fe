package main

import (
	"io"

	"github.com/spf13/cobra"

	"capstan/bench/internal/contain"
)

// containCommands are the roles that bench itself plays for the processes that
// it measures. They are of no use by hand, and hidden.
func containCommands(status *int, stdin io.Reader) []*cobra.Command {
	var cpus string
	build := func(name, short string, run func(contain.CPUs, []string) error) *cobra.Command {
		cmd := &cobra.Command{
			Use: name + " -- COMMAND", Short: short, Hidden: true, Args: cobra.MinimumNArgs(1),
			RunE: func(_ *cobra.Command, args []string) error {
				list, err := contain.ParseCPUs(cpus)
				if err != nil {
					return err
				}
				return run(list, args)
			},
		}
		cmd.Flags().StringVar(&cpus, "cpus", "", "processors to run on, all by default")
		return cmd
	}
	return []*cobra.Command{
		build(contain.ExecName, "Become a command that is kept to some processors", contain.Exec),
		build(contain.InitName, "Run a command as the first process of a PID namespace", func(list contain.CPUs, argv []string) (err error) {
			*status, err = contain.Init(list, argv)
			return err
		}),
		{
			Use: contain.JanitorName + " DIR", Short: "Remove a directory at the end of standard input", Hidden: true, Args: cobra.ExactArgs(1),
			RunE: func(_ *cobra.Command, args []string) error { return contain.Clean(stdin, args[0]) },
		},
	}
}
