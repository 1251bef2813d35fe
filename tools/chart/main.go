// Command chart makes what is derived from the Helm chart, in the directory it
// is given: values.schema.json, the table in the chart's README, and the plain
// manifests beside it. With --check it changes nothing and fails if something
// is not current.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"capstan/tools/chart/internal/chart"
	"capstan/tools/chart/internal/values"
)

func main() {
	check := flag.Bool("check", false, "change nothing, fail if something is not current")
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "usage: chart [--check] MANIFESTS")
		os.Exit(2)
	}
	if err := run(flag.Arg(0), *check); err != nil {
		fmt.Fprintln(os.Stderr, "chart:", err)
		os.Exit(1)
	}
}

// plain are the plain manifests, each with the values it is rendered from.
// Certificates are not among them: they would be everybody's.
var plain = map[string]string{
	"privileged.yaml": secrets,
	"least-privilege.yaml": secrets + `
securityMode: leastPrivilege
`,
}

const secrets = `
relay: {tls: {source: existingSecret, serverSecret: capstan-relay-tls, clientSecret: capstan-interceptor-tls}}
`

const plainHead = `# Rendered from charts/capstan by "make chart": change that, not this.
# Needed beside it: the namespace (with the label that its pods need for Pod
# Security admission), and the secrets capstan-relay-tls and
# capstan-interceptor-tls, each with tls.crt, tls.key and ca.crt.
`

const (
	tableBegin = "<!-- values: made by \"make chart\" -->\n"
	tableEnd   = "<!-- end of values -->\n"
)

func run(dir string, check bool) error {
	chartDir := filepath.Join(dir, "charts", "capstan")
	file, err := values.Read(filepath.Join(chartDir, "values.yaml"))
	if err != nil {
		return err
	}
	schema, err := file.SchemaJSON()
	if err != nil {
		return err
	}
	readmePath := filepath.Join(chartDir, "README.md")
	readme, err := os.ReadFile(readmePath)
	if err != nil {
		return err
	}
	before, rest, ok1 := strings.Cut(string(readme), tableBegin)
	_, after, ok2 := strings.Cut(rest, tableEnd)
	if !ok1 || !ok2 {
		return fmt.Errorf("%s has no place for the values", readmePath)
	}
	// The schema first: rendering holds the values against it.
	err = errors.Join(
		write(filepath.Join(chartDir, "values.schema.json"), schema, check),
		write(readmePath, []byte(before+tableBegin+file.Table()+tableEnd+after), check))
	if err != nil {
		return err
	}
	c, err := chart.Load(chartDir)
	if err != nil {
		return err
	}
	for name, v := range plain {
		rendered, err := c.Render(v)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		out := plainHead + "---\n" + strings.Join(rendered.Objects, "---\n")
		if err := write(filepath.Join(dir, "plain", name), []byte(out), check); err != nil {
			return err
		}
	}
	return nil
}

// write writes a file, or with check says that it would change.
func write(path string, data []byte, check bool) error {
	if !check {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		return os.WriteFile(path, data, 0o644)
	}
	have, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if !bytes.Equal(have, data) {
		return fmt.Errorf("%s is not current: make chart", path)
	}
	return nil
}
