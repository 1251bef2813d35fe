package terminal

import (
	"context"
	"errors"
	"io"

	tea "charm.land/bubbletea/v2"
	"google.golang.org/grpc/status"

	capstanv1 "capstan/proto/capstan/v1"
)

// Screen shows records on the whole terminal until its user has seen enough, or
// ctx ends. address is for the title.
func Screen(ctx context.Context, c capstanv1.InterceptorClient, q Query, address string, in io.Reader, out io.Writer) error {
	f := newFeed(ctx, c, q)
	defer f.close()
	_, err := tea.NewProgram(newModel(f, address, q.Filter), tea.WithContext(ctx), tea.WithInput(in), tea.WithOutput(out)).Run()
	if errors.Is(err, tea.ErrInterrupted) || ctx.Err() != nil {
		return nil
	}
	return err
}

// reason is an error in words, without gRPC's wrapping.
func reason(err error) string {
	if s, ok := status.FromError(err); ok {
		return s.Message()
	}
	return err.Error()
}
