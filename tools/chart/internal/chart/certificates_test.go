package chart

import (
	"crypto/tls"
	"crypto/x509"
	"reflect"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/fake"
)

// The secrets that the chart generates.
const (
	serverSecret = "capstan-relay-tls"
	clientSecret = "capstan-interceptor-tls"
)

// cluster is what templates look objects up in.
type cluster struct{ client dynamic.Interface }

// newCluster has secrets and nothing else.
func newCluster(t *testing.T, secrets ...*corev1.Secret) cluster {
	t.Helper()
	var objects []runtime.Object
	for _, s := range secrets {
		fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(s)
		if err != nil {
			t.Fatal(err)
		}
		objects = append(objects, &unstructured.Unstructured{Object: fields})
	}
	return cluster{fake.NewSimpleDynamicClient(runtime.NewScheme(), objects...)}
}

// GetClientFor implements engine.ClientProvider.
func (c cluster) GetClientFor(apiVersion, kind string) (dynamic.NamespaceableResourceInterface, bool, error) {
	resource, _ := meta.UnsafeGuessKindToResource(schema.FromAPIVersionAndKind(apiVersion, kind))
	return c.client.Resource(resource), true, nil
}

func (o *objects) secret(t *testing.T, name string) *corev1.Secret {
	t.Helper()
	for _, s := range o.secrets {
		if s.Name == name {
			return s
		}
	}
	t.Fatalf("no secret %s", name)
	return nil
}

// upgrade renders an upgrade in a cluster.
func upgrade(t *testing.T, values string, c cluster) *objects {
	t.Helper()
	loaded, err := Load(chartDir)
	if err != nil {
		t.Fatal(err)
	}
	r, err := loaded.Upgrade(values, c)
	if err != nil {
		t.Fatal(err)
	}
	return decode(t, r)
}

// TestCertificatesAreKept holds that an upgrade leaves generated certificates
// as they are, and makes both anew if one is gone, since neither end knows the
// other's authority then.
func TestCertificatesAreKept(t *testing.T) {
	installed := render(t, "")
	server, client := installed.secret(t, serverSecret), installed.secret(t, clientSecret)
	kept := upgrade(t, "{relay: {tls: {days: 1}}}", newCluster(t, server, client))
	for _, s := range []*corev1.Secret{server, client} {
		if got := kept.secret(t, s.Name); !reflect.DeepEqual(got, s) {
			t.Errorf("%s is not what it was", s.Name)
		}
	}
	for name, c := range map[string]cluster{
		"server's only": newCluster(t, server), "client's only": newCluster(t, client), "neither": newCluster(t),
	} {
		o := upgrade(t, "", c)
		for _, s := range []*corev1.Secret{server, client} {
			if got := o.secret(t, s.Name); reflect.DeepEqual(got.Data, s.Data) {
				t.Errorf("%s is there: %s is what it was", name, s.Name)
			}
		}
		checkCertificates(t, o, 3650*24*time.Hour)
	}
}

// TestCertificatesVerify holds that each end accepts the other, for what it is
// and for as long as relay.tls.days, and that the authority's key is nowhere.
func TestCertificatesVerify(t *testing.T) {
	checkCertificates(t, render(t, "{relay: {tls: {days: 30}}}"), 30*24*time.Hour)
}

func checkCertificates(t *testing.T, o *objects, lasts time.Duration) {
	t.Helper()
	server, client := o.secret(t, serverSecret), o.secret(t, clientSecret)
	for _, end := range []struct {
		secret, peer *corev1.Secret
		name         string
		usage        x509.ExtKeyUsage
	}{
		{server, client, "capstan-relay.capstan-system.svc", x509.ExtKeyUsageServerAuth},
		{client, server, "interceptor", x509.ExtKeyUsageClientAuth},
	} {
		pair, err := tls.X509KeyPair(end.secret.Data[corev1.TLSCertKey], end.secret.Data[corev1.TLSPrivateKeyKey])
		if err != nil {
			t.Fatalf("%s: %v", end.secret.Name, err)
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(end.peer.Data["ca.crt"]) {
			t.Fatalf("%s: no authority", end.peer.Name)
		}
		if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: end.name, KeyUsages: []x509.ExtKeyUsage{end.usage}}); err != nil {
			t.Errorf("%s: %v", end.secret.Name, err)
		}
		if left := time.Until(pair.Leaf.NotAfter); left > lasts || left < lasts-time.Hour {
			t.Errorf("%s lasts %v, want %v", end.secret.Name, left, lasts)
		}
		if pair.Leaf.IsCA || len(end.secret.Data) != 3 {
			t.Errorf("%s: an authority's, or has more than it needs", end.secret.Name)
		}
	}
}

// TestCertificatesOfOthers holds that with another source of certificates the
// chart makes no secret, and pods mount those that the source fills.
func TestCertificatesOfOthers(t *testing.T) {
	for values, want := range map[string][2]string{
		"{relay: {tls: {source: existingSecret, serverSecret: a, clientSecret: b}}}": {"a", "b"},
		"{relay: {tls: {source: certManager, issuerRef: {name: x}}}}":                {serverSecret, clientSecret},
	} {
		o := render(t, values)
		if len(o.secrets) != 0 {
			t.Errorf("%s: makes secret %s", values, o.secrets[0].Name)
		}
		if s := secretVolume(o.deployment("relay"), "tls"); s != want[0] {
			t.Errorf("%s: relay mounts %q", values, s)
		}
		if s := secretVolume(o.sensor(t), "collector-tls"); s != want[1] {
			t.Errorf("%s: sensor mounts %q", values, s)
		}
		for _, c := range o.certs {
			if c.Spec.IssuerRef.Name != "x" || c.Spec.SecretName != serverSecret && c.Spec.SecretName != clientSecret {
				t.Errorf("%s: %+v", values, c.Spec)
			}
		}
	}
}

// secretVolume returns the secret of a volume of a pod.
func secretVolume(pod *corev1.PodSpec, name string) string {
	for _, v := range pod.Volumes {
		if v.Name == name && v.Secret != nil {
			return v.Secret.SecretName
		}
	}
	return ""
}
