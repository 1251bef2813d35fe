package pipeline

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"

	"github.com/google/pprof/profile"
)

// Share is the part of the interceptor's time that it spends in a stage.
type Share struct {
	Stage string
	Part  float64 // of 1
}

// stages are what functions belong to, by the beginnings of their names. What a
// function calls outside of them is its own: copies, allocation, the kernel.
var stages = []struct {
	name     string
	prefixes []string
}{
	{"receive", []string{"capstan/pkg/rpcap", "capstan/interceptor/internal/source"}},
	{"decode", []string{"capstan/pkg/packet", "capstan/pkg/defrag", "capstan/pkg/flow"}},
	{"reassembly", []string{"capstan/pkg/reassembly"}},
	{"protocol", []string{"capstan/interceptor/internal/engine", "capstan/interceptor/internal/l7", "capstan/interceptor/internal/exchange",
		"capstan/interceptor/internal/content", "capstan/interceptor/internal/arena"}},
	{"encode", []string{"capstan/proto", "capstan/interceptor/internal/sink/ndjson", "capstan/interceptor/internal/sink/text",
		"capstan/interceptor/internal/delivery.(*slab)", "capstan/interceptor/internal/delivery.append"}},
	{"send", []string{"capstan/interceptor/internal/", "github.com/", "google.golang.org/", "go.opentelemetry.io/", "net/http"}},
}

// restStage has what belongs to no stage: garbage collection, scheduling.
const restStage = "runtime"

// profile takes one of the interceptor for most of the time that frames come.
func (b *bed) profile(ctx context.Context, capturing <-chan struct{}) ([]Share, error) {
	select {
	case <-capturing:
	case <-ctx.Done():
		return nil, nil // the pair tells why
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", b.path("metrics"))
	}}}
	seconds := strconv.Itoa(max(1, int(b.Duration.Seconds()*0.8)))
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://interceptor/debug/pprof/profile?seconds="+seconds, nil)
	if err != nil {
		return nil, err
	}
	answer, err := client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("profile: %w", err)
	}
	defer answer.Body.Close()
	p, err := profile.Parse(answer.Body)
	if err != nil {
		return nil, fmt.Errorf("profile: %w", err)
	}
	return shares(p), nil
}

// shares divides the samples of a processor profile among the stages.
func shares(p *profile.Profile) []Share {
	spent := map[string]int64{}
	var all int64
	for _, s := range p.Sample {
		v := s.Value[len(s.Value)-1] // nanoseconds
		spent[stageOf(s)] += v
		all += v
	}
	var list []Share
	for _, stage := range stages {
		list = append(list, Share{stage.name, float64(spent[stage.name]) / float64(max(all, 1))})
	}
	return append(list, Share{restStage, float64(spent[restStage]) / float64(max(all, 1))})
}

// stageOf returns the stage of the innermost function that has one.
func stageOf(s *profile.Sample) string {
	for _, l := range s.Location { // the innermost first
		for _, line := range l.Line {
			if line.Function == nil {
				continue
			}
			for _, stage := range stages {
				for _, prefix := range stage.prefixes {
					if strings.HasPrefix(line.Function.Name, prefix) {
						return stage.name
					}
				}
			}
		}
	}
	return restStage
}
