package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"capstan/bench/internal/pipeline"
	"capstan/pkg/netns"
)

func pipelineCommand(stdout io.Writer) *cobra.Command {
	c := pipeline.Config{}
	sizes := []int{8 << 10, 1800}
	cmd := &cobra.Command{
		Use:   "pipeline",
		Short: "Measure rpcapd and interceptor together: exchanges for each second of processor time",
		Long: `pipeline sends generated HTTP/1 over a cable between two network namespaces, as
fast as it goes or at --rate, captures it with rpcapd through a unix socket and
tells it as JSON. It states the exchanges for each second of processor time that
both processes have used from start to end, user and system.`,
		Args: cobra.NoArgs,
	}
	bin := binaries(cmd)
	cmd.Flags().IntSliceVar(&sizes, "response-len", sizes, "bytes of a response's body, each measured apart")
	cmd.Flags().IntVar(&c.Shards, "shards", 1, "shards of the interceptor")
	cmd.Flags().Float64Var(&c.Rate, "rate", 0, "frames per second; 0 = flat out")
	cmd.Flags().DurationVar(&c.Duration, "duration", 5*time.Second, "how long to send")
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		if err := netns.Supported(); err != nil {
			return fmt.Errorf("measuring makes network namespaces of its own: %w; run it as root", err)
		}
		if c.Self, err = os.Executable(); err != nil {
			return err
		}
		c.Rpcapd, c.Interceptor = bin()
		for _, c.ResponseLen = range sizes {
			r, err := pipeline.Run(cmd.Context(), c)
			if err != nil {
				return err
			}
			fmt.Fprintf(stdout, "%d B responses, %d shards: %.0f exchanges per processor second (%d exchanges, %d of them complete; rpcapd %.2f s, interceptor %.2f s; %d frames lost in the ring)\n",
				c.ResponseLen, c.Shards, r.PerSecond(), r.Exchanges, r.Complete, r.Rpcapd.Seconds(), r.Interceptor.Seconds(), r.RingLost)
		}
		return nil
	}
	return cmd
}
