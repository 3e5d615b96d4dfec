package rpc

import (
	"fmt"
	"slices"

	"google.golang.org/grpc"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	reflectionv1alpha "google.golang.org/grpc/reflection/grpc_reflection_v1alpha"

	fleetv1 "sallyport.dev/sallyport/api/sallyport/fleet/v1"
	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/services/caller"
)

// rolesOf says who may call a method; false when the method has no entry, and then nobody may.
// RoleAnyone in an entry lets everybody in, whatever they are.
func rolesOf(fullMethod string) ([]caller.Role, bool) {
	var (
		anyone  = []caller.Role{caller.RoleAnyone}
		agent   = []caller.Role{caller.RoleAgent}
		renewer = []caller.Role{caller.RoleAgent, caller.RoleAgentExpired}
		reader  = []caller.Role{caller.RoleViewer, caller.RoleOperator, caller.RoleAdmin}
		writer  = []caller.Role{caller.RoleOperator, caller.RoleAdmin}
		admin   = []caller.Role{caller.RoleAdmin}
	)
	switch fullMethod {
	case fleetv1.EnrolmentService_Enroll_FullMethodName:
		return anyone, true
	case fleetv1.EnrolmentService_Renew_FullMethodName:
		return renewer, true
	case fleetv1.SyncService_Sync_FullMethodName,
		fleetv1.RelayService_RelayIKE_FullMethodName:
		return agent, true

	case operatorv1.ResourceService_Get_FullMethodName,
		operatorv1.ResourceService_List_FullMethodName,
		operatorv1.ResourceService_Watch_FullMethodName,
		operatorv1.PeerService_ExplainPeer_FullMethodName,
		operatorv1.AdminService_GetStatus_FullMethodName:
		return reader, true
	case operatorv1.ResourceService_Create_FullMethodName,
		operatorv1.ResourceService_Update_FullMethodName,
		operatorv1.ResourceService_Delete_FullMethodName,
		operatorv1.ResourceService_Apply_FullMethodName,
		operatorv1.PeerService_UpPeer_FullMethodName,
		operatorv1.PeerService_DownPeer_FullMethodName,
		operatorv1.PeerService_RekeyPeer_FullMethodName,
		operatorv1.AdminService_Rekey_FullMethodName,
		operatorv1.AdminService_ConfirmDeletions_FullMethodName:
		return writer, true
	case operatorv1.AdminService_RotateCA_FullMethodName,
		operatorv1.AdminService_IssueOperator_FullMethodName,
		operatorv1.AdminService_RevokeOperator_FullMethodName,
		operatorv1.AdminService_Backup_FullMethodName,
		operatorv1.AdminService_Restore_FullMethodName:
		return admin, true

	case healthv1.Health_Check_FullMethodName,
		healthv1.Health_Watch_FullMethodName,
		healthv1.Health_List_FullMethodName:
		return anyone, true
	case reflectionv1.ServerReflection_ServerReflectionInfo_FullMethodName,
		reflectionv1alpha.ServerReflection_ServerReflectionInfo_FullMethodName:
		return admin, true
	}
	return nil, false
}

// allowed reports whether a caller of that role may call the method.
func allowed(fullMethod string, role caller.Role) bool {
	roles, ok := rolesOf(fullMethod)
	return ok && (slices.Contains(roles, caller.RoleAnyone) || slices.Contains(roles, role))
}

// checkTable returns an error that names a registered method without an entry in the table.
func checkTable(services map[string]grpc.ServiceInfo) error {
	for service, info := range services {
		for _, method := range info.Methods {
			name := "/" + service + "/" + method.Name
			if _, ok := rolesOf(name); !ok {
				return fmt.Errorf("rpc: method %s is registered but has no entry in the authorisation table", name)
			}
		}
	}
	return nil
}
