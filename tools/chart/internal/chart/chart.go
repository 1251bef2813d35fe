// Package chart renders a Helm chart with Helm's own engine, without a cluster.
package chart

import (
	"context"
	"fmt"
	"path"
	"sort"
	"strings"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	"sigs.k8s.io/yaml"
)

// The release that is rendered.
const (
	Release   = "capstan"
	Namespace = "capstan-system"
)

// Rendered is what a chart and values make.
type Rendered struct {
	Notes   string
	Objects []string // YAML, one object each, in the order of their files' names
}

// Chart is a chart that was loaded.
type Chart struct{ chart *chart.Chart }

// Load reads the chart in a directory.
func Load(dir string) (*Chart, error) {
	c, err := loader.Load(dir)
	if err != nil {
		return nil, err
	}
	return &Chart{c}, nil
}

// Render renders an installation with values, YAML text, over the chart's own.
// They must satisfy the chart's schema.
func (c *Chart) Render(values string) (Rendered, error) {
	all, err := c.values(values, common.ReleaseOptions{Revision: 1, IsInstall: true})
	if err != nil {
		return Rendered{}, err
	}
	return rendered((engine.Engine{Strict: true}).RenderWithContext(context.Background(), c.chart, all))
}

// Upgrade renders an upgrade in a cluster, in which templates find what is
// there by lookup.
func (c *Chart) Upgrade(values string, cluster engine.ClientProvider) (Rendered, error) {
	all, err := c.values(values, common.ReleaseOptions{Revision: 2, IsUpgrade: true})
	if err != nil {
		return Rendered{}, err
	}
	return rendered(engine.RenderWithClientProvider(c.chart, all, cluster))
}

func (c *Chart) values(text string, options common.ReleaseOptions) (common.Values, error) {
	var given map[string]any
	if err := yaml.UnmarshalStrict([]byte(text), &given); err != nil {
		return nil, fmt.Errorf("values: %w", err)
	}
	options.Name, options.Namespace = Release, Namespace
	return util.ToRenderValues(c.chart, given, options, nil)
}

// rendered sorts the files that templates made into objects and notes.
func rendered(files map[string]string, err error) (Rendered, error) {
	if err != nil {
		return Rendered{}, err
	}
	names := make([]string, 0, len(files))
	for name := range files {
		names = append(names, name)
	}
	sort.Strings(names)
	var r Rendered
	for _, name := range names {
		switch {
		case path.Base(name) == "NOTES.txt":
			r.Notes = files[name]
		case path.Ext(name) == ".yaml":
			r.Objects = append(r.Objects, split(files[name])...)
		}
	}
	return r, nil
}

// split returns the documents of YAML text that are not empty.
func split(text string) []string {
	var objects []string
	for _, d := range strings.Split("\n"+text, "\n---\n") {
		if d = strings.TrimSpace(d); d != "" {
			objects = append(objects, d+"\n")
		}
	}
	return objects
}
