package metrics

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"

	"capstan/pkg/unixsock"
)

// unixPrefix begins an address that is the path of a unix socket.
const unixPrefix = "unix:"

// listen listens on HOST:PORT, or on the unix socket of unix:PATH in place of
// one that an earlier process has left.
func listen(address string) (net.Listener, error) {
	path, ok := strings.CutPrefix(address, unixPrefix)
	if !ok {
		return net.Listen("tcp", address)
	}
	return unixsock.ListenReplacing(path)
}

// maxHealth bounds what is read of an answer.
const maxHealth = 4 << 10

// Health asks the process that serves at address, as given to [Serve], how it
// is, and returns what is wrong. With alive it is enough that it answers.
func Health(ctx context.Context, address string, alive bool) error {
	transport := &http.Transport{DisableKeepAlives: true}
	if path, ok := strings.CutPrefix(address, unixPrefix); ok {
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		}
		address = "localhost"
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/healthz", nil)
	if err != nil {
		return err
	}
	answer, err := transport.RoundTrip(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if alive || answer.StatusCode == http.StatusOK {
		return nil
	}
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxHealth))
	if err != nil {
		return err
	}
	return errors.New(strings.TrimSpace(string(text)))
}
