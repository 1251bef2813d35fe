package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/spf13/cobra"

	"capstan/bench/internal/limit"
)

// limitCommand does half of a server's work, for "bench server" to measure.
func limitCommand(stderr io.Writer) *cobra.Command {
	cmd := &cobra.Command{Use: "limit", Short: "Do one half of a capture server's work alone", Hidden: true}
	cmd.AddCommand(drainCommand(stderr), feedCommand())
	return cmd
}

func drainCommand(stderr io.Writer) *cobra.Command {
	var c limit.DrainConfig
	var ringMiB int
	cmd := &cobra.Command{
		Use: "drain -i INTERFACE", Short: "Drain a ring without sending anything", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c.RingLen = ringMiB << 20
			r, err := limit.Drain(cmd.Context(), c, func() { fmt.Fprintln(stderr, "draining", c.Interface) })
			if err != nil {
				return err
			}
			_, err = io.WriteString(stderr, r.Text())
			return err
		},
	}
	cmd.Flags().StringVarP(&c.Interface, "interface", "i", "", "interface")
	cmd.Flags().IntVar(&ringMiB, "ring-size", 32, "MiB of the ring")
	cmd.Flags().DurationVar(&c.BlockTimeout, "block-timeout", 20*time.Millisecond, "how long a block that isn't full is kept back")
	return cmd
}

func feedCommand() *cobra.Command {
	var c limit.FeedConfig
	cmd := &cobra.Command{
		Use: "feed", Short: "Be an RPCAP server that captures nothing and sends frames made before", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			feed, err := limit.ListenFeed(c)
			if err != nil {
				return err
			}
			stop := context.AfterFunc(cmd.Context(), func() { feed.Close() })
			defer stop()
			for {
				if err := feed.Serve(cmd.Context()); err != nil {
					if errors.Is(err, net.ErrClosed) {
						return nil
					}
					return err
				}
			}
		},
	}
	cmd.Flags().StringVar(&c.Network, "network", "tcp", "tcp or unix")
	cmd.Flags().StringVar(&c.Address, "address", "127.0.0.1:2002", "where to listen")
	cmd.Flags().IntVar(&c.Size, "size", 60, "length of a frame")
	cmd.Flags().Float64Var(&c.Rate, "rate", 0, "frames per second; 0 = as many as the client takes")
	cmd.Flags().DurationVar(&c.Duration, "duration", time.Second, "how long")
	return cmd
}
