package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
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
		Short: "Measure rpcapd and interceptor together: processor time for each exchange",
		Long: `pipeline sends generated HTTP/1 over a cable between two network namespaces, at
--rate, captures it with rpcapd through a unix socket and has the interceptor
tell it. It states the processor time, user and system, from when capturing has
begun to the end of the processes, for each exchange, and what they took before
that; and beside it what each takes alone: rpcapd for a reader that drops the
frames, the interceptor from a file with the same frames that is in memory.

What a machine does in a second tells little about programs on another one. So
the textbook pipeline of Go's libraries has 1,800-byte responses from memory just
before and after each run, and it is stated how many times its exchanges both
processes tell in the same processor time.

--outlets names where records go, each measured apart in a run of its own, to
receivers whose work doesn't count: ` + strings.Join(pipeline.OutletNames(), ", ") + `.`,
		Args: cobra.NoArgs,
	}
	bin := binaries(cmd)
	cmd.Flags().IntSliceVar(&sizes, "response-len", sizes, "bytes of a response's body, each measured apart")
	cmd.Flags().IntVar(&c.Shards, "shards", 1, "shards of the interceptor")
	cmd.Flags().Float64Var(&c.Rate, "rate", 80_000, "frames per second; 0 = flat out")
	cmd.Flags().DurationVar(&c.Duration, "duration", 5*time.Second, "how long to send, in each run")
	cmd.Flags().BoolVar(&c.Alone, "alone", true, "measure each process alone, too")
	cmd.Flags().StringSliceVar(&c.Outlets, "outlets", []string{"none"}, "where records go; all = each there is")
	cmd.Flags().BoolVar(&c.Stages, "stages", false, "say which part of the interceptor's time each stage takes, by profiles")
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		if err := netns.Supported(); err != nil {
			return fmt.Errorf("measuring makes network namespaces of its own: %w; run it as root", err)
		}
		if c.Self, err = os.Executable(); err != nil {
			return err
		}
		if len(c.Outlets) == 1 && c.Outlets[0] == "all" {
			c.Outlets = pipeline.OutletNames()
		}
		c.Rpcapd, c.Interceptor = bin()
		for _, c.ResponseLen = range sizes {
			r, err := pipeline.Run(cmd.Context(), c)
			if err != nil {
				return err
			}
			if err := writePipeline(stdout, &c, &r); err != nil {
				return err
			}
		}
		return nil
	}
	return cmd
}

// writePipeline writes a measurement: times are those of an exchange.
func writePipeline(to io.Writer, c *pipeline.Config, r *pipeline.Result) error {
	fmt.Fprintf(to, "\n%d B responses, %.0f frames/s, %d shards: processor time of an exchange\n", c.ResponseLen, c.Rate, c.Shards)
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	fmt.Fprint(w, "outlet\texchanges\tincomplete\tframes lost\trpcapd\tinterceptor\tover the first\tboth\texchanges/s of both\tof the interceptor\tof the textbook, 1.8 KB\tboth / textbook\tstart of rpcapd\tof the interceptor")
	for _, s := range r.Live[0].Stages {
		fmt.Fprintf(w, "\t%s", s.Stage)
	}
	fmt.Fprintln(w)
	first := r.Live[0].Each(r.Live[0].Interceptor)
	for i := range r.Live {
		l := &r.Live[i]
		own := l.Each(l.Interceptor)
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%s\t%s\t%+.1f µs\t%s\t%.0f\t%.0f\t%.0f\t%.2f\t%.0f ms\t%.0f ms", l.Outlet, l.Exchanges, l.Exchanges-l.Complete, l.RingLost,
			micros(l.Each(l.Rpcapd)), micros(own), float64(own-first)/1e3, micros(l.Each(l.Rpcapd+l.Interceptor)),
			l.PerSecond(), float64(l.Exchanges)/l.Interceptor.Seconds(), 1/l.Textbook.Seconds(), l.TimesTextbook(),
			millis(l.RpcapdStart), millis(l.InterceptorStart))
		for _, s := range l.Stages {
			fmt.Fprintf(w, "\t%.0f %%", 100*s.Part)
		}
		fmt.Fprintln(w)
	}
	if a := r.Alone; a != nil {
		fmt.Fprintf(w, "each alone\t\t\t\t%s\t%s\t\t%s\n", micros(a.Rpcapd), micros(a.Interceptor), micros(a.Sum()))
		fmt.Fprintf(w, "%s / alone\t\t\t\t%.2f\t%.2f\t\t%.2f\n", r.Live[0].Outlet, ratio(r.Live[0].Each(r.Live[0].Rpcapd), a.Rpcapd),
			ratio(first, a.Interceptor), ratio(r.Live[0].Each(r.Live[0].Rpcapd+r.Live[0].Interceptor), a.Sum()))
	}
	return w.Flush()
}

func micros(d time.Duration) string { return fmt.Sprintf("%.1f µs", float64(d)/1e3) }

func millis(d time.Duration) float64 { return float64(d) / 1e6 }

func ratio(a, b time.Duration) float64 { return float64(a) / float64(max(b, 1)) }
