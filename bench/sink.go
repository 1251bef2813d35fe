package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"capstan/bench/internal/sink"
	"capstan/pkg/rpcap"
	"capstan/pkg/smallfile"
)

// sinkFlags are the flags of "bench sink".
type sinkFlags struct {
	udp, verify, promiscuous bool
	ca                       string
	insecure                 bool
	readTimeout, duration    time.Duration
	snapLen                  int
	vlan                     []uint
	json, obey               bool
}

func sinkCommand(stdin io.Reader, stdout, stderr io.Writer) *cobra.Command {
	var f sinkFlags
	cmd := &cobra.Command{
		Use:   "sink rpcap[s|+unix]://SERVER/DEVICE",
		Short: "Capture from any RPCAP server, count and verify the frames, and throw them away",
		Long: `Captures until Ctrl-C or --duration and says what arrived. Frames of
"bench generate" are verified: each exactly once, in order, every byte as sent,
and how late. All other frames are only counted.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.run(cmd.Context(), args[0], stdin, stdout, stderr)
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&f.udp, "udp", false, "take the frames as UDP datagrams")
	flags.BoolVar(&f.verify, "verify", true, "look at every byte; false: only count")
	flags.BoolVar(&f.promiscuous, "promiscuous", true, "ask for promiscuous mode")
	flags.StringVar(&f.ca, "ca", "", "PEM file of certificates to trust, for rpcaps (default: the system's)")
	flags.BoolVar(&f.insecure, "insecure", false, "accept any certificate")
	flags.DurationVar(&f.readTimeout, "read-timeout", 20*time.Millisecond, "how long the server may keep a frame back")
	flags.DurationVar(&f.duration, "duration", 0, "stop after this time; 0 = at Ctrl-C")
	flags.IntVar(&f.snapLen, "snap-len", 0, "bytes to take of each frame; 0 = all")
	flags.UintSliceVar(&f.vlan, "vlan", nil, "802.1Q identifiers, of which each test frame must have one")
	flags.BoolVar(&f.json, "json", false, "print the result as JSON")
	flags.BoolVar(&f.obey, "obey", false, "take orders from standard input, line by line: settle, end")
	return cmd
}

func (f *sinkFlags) run(ctx context.Context, source string, stdin io.Reader, stdout, stderr io.Writer) error {
	cfg, err := f.config(source)
	if err != nil {
		return err
	}
	if f.obey {
		return sink.Obey(ctx, cfg, stdin, stdout)
	}
	s, err := sink.Open(ctx, cfg)
	if err != nil {
		return err
	}
	defer s.Close()
	if f.duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, f.duration)
		defer cancel()
	}
	fmt.Fprintln(stderr, "sink: capturing from", cfg.URL.String())
	select {
	case <-ctx.Done():
	case <-s.Done():
	}
	quiet := sink.QuietFor(f.readTimeout)
	settling, cancel := context.WithTimeout(context.Background(), quiet+time.Second)
	defer cancel()
	s.Settle(settling, quiet)
	r := s.End(context.Background())
	if f.json {
		return json.NewEncoder(stdout).Encode(r)
	}
	_, err = io.WriteString(stdout, r.Text())
	return err
}

func (f *sinkFlags) config(source string) (sink.Config, error) {
	u, err := rpcap.ParseURL(source)
	if err != nil {
		return sink.Config{}, err
	}
	c := sink.Config{
		URL: u, Datagrams: f.udp, SnapLen: f.snapLen, ReadTimeout: f.readTimeout, Promiscuous: f.promiscuous, VLAN: vlanIDs(f.vlan),
		TLS: &tls.Config{InsecureSkipVerify: f.insecure},
	}
	if !f.verify {
		c.Verify = sink.VerifyNone
	}
	if f.ca != "" {
		if c.TLS.RootCAs, err = smallfile.Authorities(f.ca); err != nil {
			return c, err
		}
	}
	return c, nil
}
