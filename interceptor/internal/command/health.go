package command

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"capstan/interceptor/internal/metrics"
)

func healthCommand(s streams) *cobra.Command {
	var (
		address string
		alive   bool
		timeout time.Duration
	)
	cmd := &cobra.Command{
		Use:   "health --address ADDRESS",
		Short: "Ask a running interceptor whether it captures",
		Long: `health is a probe: it asks the interceptor that serves metrics at ADDRESS
(HOST:PORT, or unix:PATH) whether all its sources are connected and answer.

Exit status: 0 healthy, 1 wrong usage, 2 unhealthy`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if address == "" {
				return usageError{errors.New("--address is not given")}
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			if err := metrics.Health(ctx, address, alive); err != nil {
				return cannotStartError{fmt.Errorf("unhealthy: %w", err)}
			}
			_, err := fmt.Fprintln(s.out, "healthy")
			return err
		},
	}
	cmd.Flags().StringVar(&address, "address", "", "what the interceptor got as --metrics-address")
	cmd.Flags().BoolVar(&alive, "alive", false, "it is enough that it answers")
	cmd.Flags().DurationVar(&timeout, "timeout", 5*time.Second, "for all of it")
	return cmd
}
