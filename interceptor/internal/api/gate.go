package api

import (
	"context"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	capstanv1 "capstan/proto/capstan/v1"
)

// gate lets calls through to those who have the role for them.
type gate struct {
	roles Roles
	audit *audit
}

// needed tells the role that a method needs. One that is not known here needs
// the highest.
func needed(method string) Role {
	switch method {
	case capstanv1.Interceptor_Watch_FullMethodName, capstanv1.Interceptor_GetStatus_FullMethodName,
		capstanv1.Interceptor_GetLedger_FullMethodName, capstanv1.Interceptor_ListInterfaces_FullMethodName:
		return Read
	}
	switch service, _, _ := strings.Cut(strings.TrimPrefix(method, "/"), "/"); service {
	case "grpc.health.v1.Health":
		return None
	case "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection":
		return Read
	}
	return Admin
}

type identityKey struct{}

// caller returns who made the call that a gate let through.
func caller(ctx context.Context) identity {
	id, _ := ctx.Value(identityKey{}).(identity)
	return id
}

// admit returns a context that tells who calls, or refuses.
func (g *gate) admit(ctx context.Context, method string) (context.Context, error) {
	id := identify(ctx)
	if role, need := g.roles.role(id), needed(method); role < need {
		g.audit.denied(id, method, role)
		return nil, status.Errorf(codes.PermissionDenied, "%s needs the role %s, which %s has not", method, need, id.text)
	}
	return context.WithValue(ctx, identityKey{}, id), nil
}

func (g *gate) unary(ctx context.Context, request any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	ctx, err := g.admit(ctx, info.FullMethod)
	if err != nil {
		return nil, err
	}
	return handle(ctx, request)
}

func (g *gate) stream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
	ctx, err := g.admit(stream.Context(), info.FullMethod)
	if err != nil {
		return err
	}
	return handle(srv, &admittedStream{stream, ctx})
}

type admittedStream struct {
	grpc.ServerStream
	ctx context.Context
}

// Context implements grpc.ServerStream.
func (s *admittedStream) Context() context.Context { return s.ctx }
