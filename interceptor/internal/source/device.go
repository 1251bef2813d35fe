package source

import (
	"context"
	"errors"
	"strings"

	"capstan/interceptor/internal/remote"
	"capstan/pkg/capture"
	"capstan/pkg/rpcap"
	"capstan/pkg/rpcap/rpcapclient"
)

// noSuchDevice is part of what servers answer to an unknown name. libpcap's
// knows no parameters, so it takes them for part of the name.
const noSuchDevice = "No such device"

// openDevice opens the URL's device. If the server knows no parameters, it is
// opened without them; then the frames are more than were asked for, but for the
// parameter filter, which becomes a part of the client's. That is returned as a
// program.
func (s *RPCAP) openDevice(ctx context.Context, client *rpcapclient.Client) (capture.LinkType, []rpcap.Instruction, error) {
	linkType, err := client.Open(ctx, s.cfg.URL.Device)
	if err == nil {
		filter, err := remote.Filter(linkType, s.cfg.Filter)
		return linkType, filter, err
	}
	if !unknownName(err) {
		return 0, nil, err
	}
	d, parseErr := rpcap.ParseDevice(s.cfg.URL.Device)
	if parseErr != nil || !d.HasParameters() {
		return 0, nil, err
	}
	if linkType, err = client.Open(ctx, d.Name); err != nil {
		return 0, nil, err
	}
	filter, err := remote.Filter(linkType, remote.Both(d.Filter, s.cfg.Filter))
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
	var refused *rpcap.RemoteError
	return errors.As(err, &refused) && refused.Code == rpcap.CodeOpen && strings.Contains(refused.Text, noSuchDevice)
}
