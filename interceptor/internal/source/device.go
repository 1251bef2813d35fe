package source

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"capstan/pkg/capture"
	"capstan/pkg/pcapfilter"
	"capstan/pkg/rpcap"
	"capstan/pkg/rpcap/rpcapclient"
)

// noSuchDevice is part of what servers answer to an unknown name. libpcap's
// knows no parameters, so it takes them for part of the name.
const noSuchDevice = "No such device"

// openDevice opens the URL's device. If the server knows no parameters, it is
// opened without them; then the frames are more than were asked for, but for the
// parameter filter, which is returned as a program for the client's filter.
func (s *RPCAP) openDevice(ctx context.Context, client *rpcapclient.Client) (capture.LinkType, []rpcap.Instruction, error) {
	linkType, err := client.Open(ctx, s.cfg.URL.Device)
	if err == nil || !unknownName(err) {
		return linkType, nil, err
	}
	d, parseErr := rpcap.ParseDevice(s.cfg.URL.Device)
	if parseErr != nil || !d.HasParameters() {
		return 0, nil, err
	}
	if linkType, err = client.Open(ctx, d.Name); err != nil {
		return 0, nil, err
	}
	filter, err := compile(linkType, d.Filter)
	if err != nil {
		return 0, nil, err
	}
	s.told.Do(func() {
		s.cfg.Log.Warn("the capture server knows no device parameters: it captures all of the device, only a filter is still applied",
			"source", s.cfg.URL.String(), "device", d.Name)
	})
	return linkType, filter, nil
}

func unknownName(err error) bool {
	var remote *rpcap.RemoteError
	return errors.As(err, &remote) && remote.Code == rpcap.CodeOpen && strings.Contains(remote.Text, noSuchDevice)
}

// compile compiles a filter expression; nil is every frame.
func compile(linkType capture.LinkType, expression string) ([]rpcap.Instruction, error) {
	if expression == "" {
		return nil, nil
	}
	program, err := pcapfilter.Compile(linkType, rpcap.MaxSnapLen, expression)
	if err != nil {
		return nil, fmt.Errorf("parameter filter: %w", err)
	}
	filter := make([]rpcap.Instruction, len(program))
	for i, ins := range program {
		filter[i] = rpcap.Instruction{Op: ins.Op, Jt: ins.Jt, Jf: ins.Jf, K: ins.K}
	}
	return filter, nil
}
