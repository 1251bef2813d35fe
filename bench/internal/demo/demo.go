// Package demo shows the whole pipeline on traffic of its own: a small HTTP
// service and its client in network namespaces, an rpcapd and an interceptor
// as real processes beside the service.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"capstan/bench/internal/pair"
	"capstan/pkg/netns"
)

// Config tells how to run the demo.
type Config struct {
	Rpcapd, Interceptor string
	InterceptorArgs     []string
	Interval            time.Duration // between two requests
	Stdout, Stderr      io.Writer
}

const (
	serverName = "shop.demo:8080"
	serverAddr = "10.77.0.1:8080"
)

// Run runs the demo until ctx is cancelled. Namespaces, interfaces and sockets
// live in anonymous namespaces, which the kernel removes with the last process
// in them: nothing is left behind, however the demo ends.
func Run(ctx context.Context, cfg Config) (status int, err error) {
	if err := netns.Supported(); err != nil {
		return 0, fmt.Errorf("the demo makes network namespaces of its own: %w; run it as root", err)
	}
	server, client, err := hosts()
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, client.Close(), server.Close()) }()

	listener, err := server.Listen("tcp", serverAddr)
	if err != nil {
		return 0, err
	}
	service := &http.Server{Handler: newService(), ReadHeaderTimeout: 5 * time.Second}
	served := make(chan error, 1)
	go func() { served <- service.Serve(listener) }() // ends with Close below
	defer func() {
		_ = service.Close()
		<-served
	}()

	ctx, cancel := context.WithCancel(ctx)
	asked := make(chan struct{})
	go func() { // ends with ctx, waited for below
		defer close(asked)
		ask(ctx, client, cfg.Interval)
	}()
	defer func() {
		cancel()
		<-asked
	}()
	return pair.Run(ctx, pair.Config{
		Rpcapd:          cfg.Rpcapd,
		RpcapdArgs:      []string{"-n", "-b", "127.0.0.1"}, // loopback of a namespace that nobody else is in
		Interceptor:     cfg.Interceptor,
		Source:          "rpcap://127.0.0.1/any",
		InterceptorArgs: cfg.InterceptorArgs,
		Start:           server.Start,
		Stdout:          cfg.Stdout,
		Stderr:          cfg.Stderr,
	})
}

// hosts makes two hosts with a cable between them.
func hosts() (server, client *netns.NS, err error) {
	if server, err = netns.New(); err != nil {
		return nil, nil, err
	}
	if client, err = netns.New(); err != nil {
		return nil, nil, errors.Join(err, server.Close())
	}
	err = netns.Veth(server, "eth0", client, "eth0")
	for ns, prefix := range map[*netns.NS]string{server: "10.77.0.1/24", client: "10.77.0.2/24"} {
		if err == nil {
			err = ns.AddAddr("eth0", netip.MustParsePrefix(prefix))
		}
	}
	if err != nil {
		return nil, nil, errors.Join(err, client.Close(), server.Close())
	}
	return server, client, nil
}

// ask plays a shop's customer until ctx ends.
func ask(ctx context.Context, from *netns.NS, interval time.Duration) {
	requests := []struct{ method, target, body string }{
		{"GET", "/api/products?page=1", ""},
		{"GET", "/api/products/7", ""},
		{"POST", "/api/orders", `{"product":7,"count":2}`},
		{"GET", "/api/events", ""},
		{"DELETE", "/api/orders/12", ""},
		{"GET", "/api/nothing-here", ""},
		{"GET", "/api/report", ""},
	}
	httpClient := &http.Client{
		Timeout: 5 * time.Second,
		Transport: &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return from.DialContext(ctx, network, serverAddr)
		}},
	}
	defer httpClient.CloseIdleConnections()
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		r := requests[i%len(requests)]
		req, err := http.NewRequestWithContext(ctx, r.method, "http://"+serverName+r.target, strings.NewReader(r.body))
		if err != nil {
			return
		}
		req.Header.Set("Authorization", "Bearer a-secret-that-is-masked")
		resp, err := httpClient.Do(req)
		if err != nil {
			continue // the service is being stopped
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
	}
}
