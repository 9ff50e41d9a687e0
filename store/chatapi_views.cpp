#include "store/chatapi_views.hpp"

namespace parley::store {
namespace {

/// A UUID's canonical text, of a column with its 16 bytes.
std::string uuid_text(const std::string& column) {
  const auto part = [&](const char* range) { return "substr(hex(" + column + ")," + range + ")"; };
  return "lower(" + part("1,8") + "||'-'||" + part("9,4") + "||'-'||" + part("13,4") + "||'-'||" +
         part("17,4") + "||'-'||" + part("21,12") + ")";
}

/// ChatAPI's times but those of messages: `2026-03-16 18:06:15`, UTC.
std::string date_time(const std::string& column) {
  return "datetime(" + column + "/1000,'unixepoch')";
}

/// The shown form of an id in a dm's unique_key (DESIGN 5).
std::string escaped(const std::string& expression) {
  return "replace(replace(" + expression + ",'%','%25'),':','%3A')";
}

}  // namespace

std::string chatapi_views_v1() {
  const std::string live_rooms =
      "rooms r JOIN tenants t ON t.tenant_no=r.tenant_no AND t.deleted_at IS NULL AND r.deleted_at "
      "IS NULL";
  return "CREATE VIEW chatapi_tenants(tenant_id,api_key_hash,name,config,created_at) AS"
         " SELECT t.tenant_id,"
         " (SELECT lower(hex(c.sha256)) FROM credentials c WHERE c.tenant_no=t.tenant_no AND "
         "c.kind='api_key'"
         "  ORDER BY c.created_at DESC LIMIT 1),"
         " t.name,t.config," +
         date_time("t.created_at") +
         " FROM tenants t WHERE t.deleted_at IS NULL;\n"

         "CREATE VIEW "
         "chatapi_rooms(room_id,tenant_id,type,unique_key,name,last_seq,created_at,metadata) AS"
         " SELECT " +
         uuid_text("r.room_id") +
         ",t.tenant_id,"
         " CASE r.type WHEN 1 THEN 'dm' WHEN 2 THEN 'group' ELSE 'channel' END,"
         " (SELECT 'dm:'||" +
         escaped("min(u.user_id)") + "||':'||" + escaped("max(u.user_id)") +
         "  FROM room_members m JOIN users u ON u.user_no=m.user_no"
         "  WHERE m.room_no=r.room_no AND r.type=1 HAVING count(*)=2),"
         " r.name,coalesce((SELECT max(l.seq) FROM room_log l WHERE l.room_no=r.room_no),0)," +
         date_time("r.created_at") + ",r.metadata FROM " + live_rooms +
         ";\n"

         "CREATE VIEW chatapi_room_members(chatroom_id,tenant_id,user_id,role,joined_at) AS"
         " SELECT " +
         uuid_text("r.room_id") +
         ",t.tenant_id,u.user_id,"
         " CASE m.role WHEN 3 THEN 'owner' WHEN 2 THEN 'admin' ELSE 'member' END," +
         date_time("m.joined_at") + " FROM " + live_rooms +
         " JOIN room_members m ON m.room_no=r.room_no JOIN users u ON u.user_no=m.user_no;\n"

         "CREATE VIEW "
         "chatapi_messages(message_id,tenant_id,chatroom_id,sender_id,seq,content,meta,created_at) "
         "AS"
         " SELECT " +
         uuid_text("m.message_id") + ",t.tenant_id," + uuid_text("r.room_id") +
         ",u.user_id,m.seq,m.content,m.meta,strftime('%Y-%m-%d "
         "%H:%M:%f',m.created_at/1000.0,'unixepoch')||'+00:00'"
         " FROM messages m JOIN " +
         live_rooms +
         " AND m.room_no=r.room_no"
         " JOIN users u ON u.user_no=m.sender_no WHERE m.kind=1;\n"

         "CREATE VIEW chatapi_delivery_state(tenant_id,user_id,chatroom_id,last_ack,updated_at) AS"
         " SELECT t.tenant_id,u.user_id," +
         uuid_text("r.room_id") + ",d.last_ack," + date_time("d.updated_at") + " FROM " + live_rooms +
         " JOIN delivery_state d ON d.room_no=r.room_no"
         " JOIN users u ON u.user_no=d.user_no;\n"

         "CREATE VIEW chatapi_undelivered_messages"
         "(id,tenant_id,user_id,chatroom_id,message_id,seq,attempts,created_at,last_attempt_at) AS"
         " SELECT n.id,t.tenant_id,u.user_id," +
         uuid_text("r.room_id") + "," + uuid_text("m.message_id") + ",n.seq,0," +
         date_time("m.created_at") +
         ",NULL"
         " FROM undelivered_messages n JOIN messages m ON m.id=n.id JOIN " +
         live_rooms + " AND r.room_no=n.room_no JOIN users u ON u.user_no=n.user_no;\n";
}

std::string chatapi_views_v4() {
  const std::string live = " JOIN tenants t ON t.tenant_no=n.tenant_no AND t.deleted_at IS NULL";
  return "CREATE VIEW chatapi_notifications(notification_id,tenant_id,topic,payload,created_at,"
         "status,attempts,last_attempt_at) AS SELECT " +
         uuid_text("n.notification_id") + ",t.tenant_id,n.topic,coalesce(n.payload,'null')," +
         date_time("n.created_at") +
         ",CASE n.state WHEN 1 THEN 'pending' WHEN 2 THEN 'delivered' ELSE 'dead' END,n.attempts," +
         date_time("n.last_attempt_at") + " FROM notifications n" + live +
         ";\n"

         "CREATE VIEW chatapi_notification_subscriptions(id,tenant_id,subscriber_id,topic,endpoint,"
         "metadata,created_at) AS SELECT"
         " row_number() OVER (ORDER BY n.tenant_no,n.user_no,n.topic),t.tenant_id,u.user_id,"
         "n.topic,NULL,NULL," +
         date_time("n.created_at") + " FROM notification_subscriptions n" + live +
         " JOIN users u ON u.user_no=n.user_no;\n";
}

}  // namespace parley::store
