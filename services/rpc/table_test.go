package rpc

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"

	"sallyport.dev/sallyport/services/caller"
)

// matrix says in one place who may do what; y is yes. It is written down apart from the table on
// purpose: a change of one has to be a change of both.
const matrix = `
                                                anyone agent agent-expired controller viewer operator admin
sallyport.fleet.v1.EnrolmentService/Enroll         y     y        y           y         y       y       y
sallyport.fleet.v1.EnrolmentService/Renew          -     y        y           -         -       -       -
sallyport.fleet.v1.SyncService/Sync                -     y        -           -         -       -       -
sallyport.operator.v1.ResourceService/Get          -     -        -           -         y       y       y
sallyport.operator.v1.ResourceService/List         -     -        -           -         y       y       y
sallyport.operator.v1.ResourceService/Watch        -     -        -           -         y       y       y
sallyport.operator.v1.ResourceService/Create       -     -        -           -         -       y       y
sallyport.operator.v1.ResourceService/Update       -     -        -           -         -       y       y
sallyport.operator.v1.ResourceService/Delete       -     -        -           -         -       y       y
sallyport.operator.v1.ResourceService/Apply        -     -        -           -         -       y       y
sallyport.fleet.v1.RelayService/RelayIKE           -     y        -           -         -       -       -
sallyport.operator.v1.PeerService/UpPeer           -     -        -           -         -       y       y
sallyport.operator.v1.PeerService/DownPeer         -     -        -           -         -       y       y
sallyport.operator.v1.PeerService/RekeyPeer        -     -        -           -         -       y       y
sallyport.operator.v1.PeerService/ExplainPeer      -     -        -           -         y       y       y
sallyport.operator.v1.AdminService/GetStatus       -     -        -           -         y       y       y
sallyport.operator.v1.AdminService/Rekey           -     -        -           -         -       y       y
sallyport.operator.v1.AdminService/ConfirmDeletions - -       -           -         -       y       y
sallyport.operator.v1.AdminService/RotateCA        -     -        -           -         -       -       y
sallyport.operator.v1.AdminService/IssueOperator   -     -        -           -         -       -       y
sallyport.operator.v1.AdminService/RevokeOperator  -     -        -           -         -       -       y
sallyport.operator.v1.AdminService/Backup          -     -        -           -         -       -       y
sallyport.operator.v1.AdminService/Restore         -     -        -           -         -       -       y
grpc.health.v1.Health/Check                        y     y        y           y         y       y       y
grpc.health.v1.Health/List                         y     y        y           y         y       y       y
grpc.health.v1.Health/Watch                        y     y        y           y         y       y       y
`

// readMatrix returns method → role → yes.
func readMatrix(t *testing.T) map[string]map[caller.Role]bool {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(matrix), "\n")
	roles := strings.Fields(lines[0])
	m := make(map[string]map[caller.Role]bool)
	for _, line := range lines[1:] {
		fields := strings.Fields(line)
		if len(fields) != len(roles)+1 {
			t.Fatalf("line %q", line)
		}
		method := make(map[caller.Role]bool)
		for i, role := range roles {
			method[caller.Role(role)] = fields[i+1] == "y"
		}
		m["/"+fields[0]] = method
	}
	return m
}

// TestEachRoleOnEachMethod calls each method over TLS as each role.
func TestEachRoleOnEachMethod(t *testing.T) {
	r := newRig(t, Limits{})
	for method, roles := range readMatrix(t) {
		input := inputOf(t, method)
		for role, want := range roles {
			r.auth.set(role, nil)
			err := callOnce(t, r.client, method, input)
			code := status.Code(err)
			denied := code == codes.PermissionDenied || code == codes.Unauthenticated
			if denied == want {
				t.Errorf("%s as %s: %v", method, role, err)
			}
			if anonymous := role == caller.RoleAnyone || role == caller.RoleAgentExpired; denied && anonymous != (code == codes.Unauthenticated) {
				t.Errorf("%s as %s is refused with %v", method, role, code)
			}
		}
	}
}

// callOnce calls any method with one empty message and returns the first error.
func callOnce(t *testing.T, conn *grpc.ClientConn, method string, input protoreflect.MessageDescriptor) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, method)
	if err != nil {
		return err
	}
	if err := stream.SendMsg(dynamicpb.NewMessage(input)); err != nil && err != io.EOF {
		return err
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	return stream.RecvMsg(dynamicpb.NewMessage(input))
}

func inputOf(t *testing.T, fullMethod string) protoreflect.MessageDescriptor {
	t.Helper()
	name := protoreflect.FullName(strings.ReplaceAll(strings.TrimPrefix(fullMethod, "/"), "/", "."))
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(name)
	if err != nil {
		t.Fatal(err)
	}
	return d.(protoreflect.MethodDescriptor).Input()
}

// TestEveryMethodHasAnEntry fails for a method of ours, or of health, that the table or the matrix forgot.
func TestEveryMethodHasAnEntry(t *testing.T) {
	m := readMatrix(t)
	found := 0
	protoregistry.GlobalFiles.RangeFiles(func(f protoreflect.FileDescriptor) bool {
		if p := string(f.Package()); !strings.HasPrefix(p, "sallyport.") && p != "grpc.health.v1" {
			return true
		}
		for i := range f.Services().Len() {
			service := f.Services().Get(i)
			for j := range service.Methods().Len() {
				name := "/" + string(service.FullName()) + "/" + string(service.Methods().Get(j).Name())
				found++
				if _, ok := rolesOf(name); !ok {
					t.Errorf("%s has no entry in the table", name)
				}
				if m[name] == nil {
					t.Errorf("%s has no line in the matrix", name)
				}
			}
		}
		return true
	})
	if found != len(m) {
		t.Errorf("the API has %d methods, the matrix %d", found, len(m))
	}
}

func TestUnknownMethodIsNobodys(t *testing.T) {
	for _, role := range []caller.Role{caller.RoleAnyone, caller.RoleAdmin, ""} {
		if allowed("/sallyport.operator.v1.AdminService/Format", role) {
			t.Errorf("%q may call a method without an entry", role)
		}
	}
	if allowed("/sallyport.operator.v1.AdminService/Backup", "") {
		t.Error("a caller without a role may make a backup")
	}
}

// TestServerRefusesAMethodWithoutAnEntry registers a service that the table does not know.
func TestServerRefusesAMethodWithoutAnEntry(t *testing.T) {
	_, err := New(Config{Auth: &fakeAuth{}, TLS: serverTLS(t), Register: func(g grpc.ServiceRegistrar) {
		g.RegisterService(&grpc.ServiceDesc{
			ServiceName: "sallyport.test.v1.Unknown", HandlerType: (*any)(nil),
			Methods: []grpc.MethodDesc{{MethodName: "Do"}},
		}, struct{}{})
	}})
	if err == nil || !strings.Contains(err.Error(), "/sallyport.test.v1.Unknown/Do") {
		t.Errorf("got %v", err)
	}
}

func TestHealth(t *testing.T) {
	r := newRig(t, Limits{})
	r.auth.set(caller.RoleAnyone, nil)
	for _, want := range []healthv1.HealthCheckResponse_ServingStatus{
		healthv1.HealthCheckResponse_NOT_SERVING, healthv1.HealthCheckResponse_SERVING, healthv1.HealthCheckResponse_NOT_SERVING,
	} {
		if want == healthv1.HealthCheckResponse_SERVING {
			r.server.SetServing(true)
		}
		for _, conn := range []*grpc.ClientConn{r.client, r.localClient} {
			got, err := healthv1.NewHealthClient(conn).Check(t.Context(), &healthv1.HealthCheckRequest{})
			if err != nil || got.GetStatus() != want {
				t.Errorf("got %v, %v, want %v", got, err, want)
			}
		}
		if want == healthv1.HealthCheckResponse_SERVING {
			r.server.SetServing(false)
		}
	}
}
