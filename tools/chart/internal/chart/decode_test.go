package chart

import (
	"regexp"
	"testing"

	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// objects are the objects of one rendering, by what they are.
type objects struct {
	notes       string
	daemonSets  []*appsv1.DaemonSet
	deployments []*appsv1.Deployment
	services    []*corev1.Service
	accounts    []*corev1.ServiceAccount
	secrets     []*corev1.Secret
	configMaps  []*corev1.ConfigMap
	roles       []*rbacv1.Role
	bindings    []*rbacv1.RoleBinding
	policies    []*networkingv1.NetworkPolicy
	monitors    []*monitoringv1.PodMonitor
	rules       []*monitoringv1.PrometheusRule
	issuers     []*certmanagerv1.Issuer
	certs       []*certmanagerv1.Certificate
}

const chartDir = "../../../../manifests/charts/capstan"

// render renders the chart and decodes every object into the type of its kind:
// a field that the type hasn't, in another case too, fails the test.
func render(t *testing.T, values string) *objects {
	t.Helper()
	return decode(t, renderText(t, values))
}

func renderText(t *testing.T, values string) Rendered {
	t.Helper()
	c, err := Load(chartDir)
	if err != nil {
		t.Fatal(err)
	}
	r, err := c.Render(values)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func decode(t *testing.T, r Rendered) *objects {
	t.Helper()
	o := &objects{notes: r.Notes}
	for _, text := range r.Objects {
		var meta metav1.TypeMeta
		if err := yaml.Unmarshal([]byte(text), &meta); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		switch kind := meta.APIVersion + " " + meta.Kind; kind {
		case "apps/v1 DaemonSet":
			o.daemonSets = append(o.daemonSets, strict[appsv1.DaemonSet](t, text))
		case "apps/v1 Deployment":
			o.deployments = append(o.deployments, strict[appsv1.Deployment](t, text))
		case "v1 Service":
			o.services = append(o.services, strict[corev1.Service](t, text))
		case "v1 ServiceAccount":
			o.accounts = append(o.accounts, strict[corev1.ServiceAccount](t, text))
		case "v1 Secret":
			o.secrets = append(o.secrets, strict[corev1.Secret](t, text))
		case "v1 ConfigMap":
			o.configMaps = append(o.configMaps, strict[corev1.ConfigMap](t, text))
		case "rbac.authorization.k8s.io/v1 Role":
			o.roles = append(o.roles, strict[rbacv1.Role](t, text))
		case "rbac.authorization.k8s.io/v1 RoleBinding":
			o.bindings = append(o.bindings, strict[rbacv1.RoleBinding](t, text))
		case "networking.k8s.io/v1 NetworkPolicy":
			o.policies = append(o.policies, strict[networkingv1.NetworkPolicy](t, text))
		case "monitoring.coreos.com/v1 PodMonitor":
			o.monitors = append(o.monitors, strict[monitoringv1.PodMonitor](t, text))
		case "monitoring.coreos.com/v1 PrometheusRule":
			o.rules = append(o.rules, strict[monitoringv1.PrometheusRule](t, text))
		case "cert-manager.io/v1 Issuer":
			o.issuers = append(o.issuers, strict[certmanagerv1.Issuer](t, text))
		case "cert-manager.io/v1 Certificate":
			o.certs = append(o.certs, strict[certmanagerv1.Certificate](t, text))
		default:
			t.Errorf("the kind %q is not one that the chart makes:\n%s", kind, text)
		}
	}
	return o
}

func strict[T any](t *testing.T, text string) *T {
	t.Helper()
	data, err := yaml.YAMLToJSONStrict([]byte(text))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	object := new(T)
	problems, err := kjson.UnmarshalStrict(data, object)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	for _, p := range problems {
		t.Errorf("%v\n%s", p, text)
	}
	return object
}

// sensor returns the DaemonSet's pod.
func (o *objects) sensor(t *testing.T) *corev1.PodSpec {
	t.Helper()
	if len(o.daemonSets) != 1 {
		t.Fatalf("%d DaemonSets", len(o.daemonSets))
	}
	return &o.daemonSets[0].Spec.Template.Spec
}

// deployment returns the pod of a component, nil if there is none.
func (o *objects) deployment(component string) *corev1.PodSpec {
	for _, d := range o.deployments {
		if d.Labels["app.kubernetes.io/component"] == component {
			return &d.Spec.Template.Spec
		}
	}
	return nil
}

// pods returns the pods of all components by name.
func (o *objects) pods(t *testing.T) map[string]*corev1.PodSpec {
	t.Helper()
	pods := map[string]*corev1.PodSpec{"interceptor": o.sensor(t)}
	for _, d := range o.deployments {
		pods[d.Labels["app.kubernetes.io/component"]] = &d.Spec.Template.Spec
	}
	return pods
}

// container returns a container of a pod.
func container(t *testing.T, pod *corev1.PodSpec, name string) *corev1.Container {
	t.Helper()
	for i := range pod.Containers {
		if pod.Containers[i].Name == name {
			return &pod.Containers[i]
		}
	}
	t.Fatalf("no container %s", name)
	return nil
}

// environment returns the value of a variable of a container, "" if it has none.
func environment(c *corev1.Container, name string) string {
	for _, e := range c.Env {
		if e.Name == name {
			return e.Value
		}
	}
	return ""
}

// secretData is what is new at each rendering.
var secretData = regexp.MustCompile(`(?m)^(  (?:ca\.crt|tls\.crt|tls\.key): ).*$`)

// stable makes the text of two renderings comparable.
func stable(text string) string { return secretData.ReplaceAllString(text, "${1}…") }
