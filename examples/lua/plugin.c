/*
 * An untrusted plugin host: the real Lua 5.4 in a micro VM. It is an ordinary program; all that is
 * special are the calls of guest.h. Exports load(source) and call(name, arguments...). Lua code
 * reaches the host as host(name, arguments...).
 */
#include <hyperlight/guest.h>
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdlib.h>

/* Deepest table that is converted. */
enum { DEPTH_MAX = 8 };

static lua_State *lua;

/* Host to Lua */

static void push(lua_State *L, const hl_value *value)
{
    luaL_checkstack(L, 4, "a value is nested too deeply");
    switch (value->type) {
    case HL_TYPE_BOOL:
        lua_pushboolean(L, value->as.boolean);
        break;
    case HL_TYPE_I32:
        lua_pushinteger(L, value->as.i32);
        break;
    case HL_TYPE_U32:
        lua_pushinteger(L, value->as.u32);
        break;
    case HL_TYPE_I64:
    case HL_TYPE_U64:
        lua_pushinteger(L, value->as.i64);
        break;
    case HL_TYPE_F32:
        lua_pushnumber(L, (lua_Number)value->as.f32);
        break;
    case HL_TYPE_F64:
        lua_pushnumber(L, value->as.f64);
        break;
    case HL_TYPE_STRING:
    case HL_TYPE_BYTES:
        lua_pushlstring(L, value->as.string.data, value->as.string.size);
        break;
    case HL_TYPE_LIST:
        lua_createtable(L, (int)value->as.list.count, 0);
        for (size_t i = 0; i < value->as.list.count; i++) {
            push(L, &value->as.list.items[i]);
            lua_rawseti(L, -2, (lua_Integer)i + 1);
        }
        break;
    case HL_TYPE_MAP:
        lua_createtable(L, 0, (int)value->as.map.count);
        for (size_t i = 0; i < value->as.map.count; i++) {
            lua_pushlstring(L, value->as.map.entries[i].key.data,
                            value->as.map.entries[i].key.size);
            push(L, &value->as.map.entries[i].value);
            lua_rawset(L, -3);
        }
        break;
    default:
        lua_pushnil(L);
    }
}

/* Lua to host: strings are borrowed from Lua, which keeps them while they are on its stack. */

static hl_value to_value(lua_State *L, int index, int depth);

static void *scratch(lua_State *L, size_t size)
{
    void *memory = hl_guest_alloc(size ? size : 1);
    if (!memory)
        luaL_error(L, "out of memory");
    return memory;
}

static hl_span copy_string(lua_State *L, int index)
{
    size_t size;
    const char *text = lua_tolstring(L, index, &size);
    char *copy = scratch(L, size);
    memcpy(copy, text, size);
    return (hl_span){copy, size};
}

static hl_value list_to_value(lua_State *L, int index, size_t count, int depth)
{
    hl_value *items = scratch(L, count * sizeof *items);
    for (size_t i = 0; i < count; i++) {
        lua_rawgeti(L, index, (lua_Integer)i + 1);
        items[i] = to_value(L, lua_gettop(L), depth + 1);
        lua_pop(L, 1);
    }
    return hl_value_list(items, count);
}

static size_t count_entries(lua_State *L, int index)
{
    size_t count = 0;
    for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1))
        count++;
    return count;
}

static hl_value map_to_value(lua_State *L, int index, int depth)
{
    size_t count = count_entries(L, index), i = 0;
    hl_entry *entries = scratch(L, count * sizeof *entries);
    for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1), i++) {
        if (lua_type(L, -2) != LUA_TSTRING)
            luaL_error(L, "the keys of a table must be strings");
        entries[i].key = copy_string(L, lua_gettop(L) - 1);
        entries[i].value = to_value(L, lua_gettop(L), depth + 1);
    }
    return hl_value_map(entries, count);
}

static hl_value to_value(lua_State *L, int index, int depth)
{
    if (depth > DEPTH_MAX)
        luaL_error(L, "a table is nested deeper than %d", DEPTH_MAX);
    luaL_checkstack(L, 4, "a table is nested too deeply");
    switch (lua_type(L, index)) {
    case LUA_TBOOLEAN:
        return hl_value_bool(lua_toboolean(L, index));
    case LUA_TNUMBER:
        return lua_isinteger(L, index) ? hl_value_i64(lua_tointeger(L, index))
                                       : hl_value_f64(lua_tonumber(L, index));
    case LUA_TSTRING: {
        hl_span text = copy_string(L, index);
        return hl_value_string_n(text.data, text.size);
    }
    case LUA_TTABLE: {
        size_t count = lua_rawlen(L, index);
        return count ? list_to_value(L, index, count, depth) : map_to_value(L, index, depth);
    }
    default:
        return hl_value_null();
    }
}

/* host(name, ...) in Lua */
static int lua_host(lua_State *L)
{
    hl_value arguments[HL_PARAMETERS_MAX], reply;
    const char *name = luaL_checkstring(L, 1);
    int count = lua_gettop(L) - 1;
    if (count > HL_PARAMETERS_MAX)
        return luaL_error(L, "too many arguments");
    for (int i = 0; i < count; i++)
        arguments[i] = to_value(L, i + 2, 0);
    if (hl_guest_call(name, arguments, (size_t)count, &reply) != HL_OK)
        return luaL_error(L, "%s", hl_guest_error());
    push(L, &reply);
    return 1;
}

static hl_status lua_failed(void)
{
    hl_status status = hl_guest_fail("%s", lua_tostring(lua, -1) ? lua_tostring(lua, -1)
                                                                 : "an error that is no text");
    lua_settop(lua, 0);
    return status;
}

static hl_status load(const hl_value *arguments, size_t count, hl_value *reply, void *user)
{
    (void)count, (void)reply, (void)user;
    const hl_span *source = &arguments[0].as.string;
    if (luaL_loadbufferx(lua, source->data, source->size, "plugin", "t") != LUA_OK ||
        lua_pcall(lua, 0, 0, 0) != LUA_OK)
        return lua_failed();
    return HL_OK;
}

/* The part of a call that may raise Lua errors: runs protected. Arguments: the call's values as a
 * light pointer, their number. */
struct pending {
    const hl_value *arguments;
    size_t count;
    hl_value *reply;
};

static int call_protected(lua_State *L)
{
    struct pending *pending = lua_touserdata(L, 1);
    lua_getglobal(L, pending->arguments[0].as.string.data);
    for (size_t i = 1; i < pending->count; i++)
        push(L, &pending->arguments[i]);
    lua_call(L, (int)pending->count - 1, 1);
    *pending->reply = to_value(L, lua_gettop(L), 0);
    return 0;
}

static hl_status call(const hl_value *arguments, size_t count, hl_value *reply, void *user)
{
    (void)user;
    struct pending pending = {arguments, count, reply};
    if (count == 0 || arguments[0].type != HL_TYPE_STRING)
        return hl_guest_fail("call(name, ...) wants the name of a function");
    lua_pushcfunction(lua, call_protected);
    lua_pushlightuserdata(lua, &pending);
    if (lua_pcall(lua, 1, 0, 0) != LUA_OK)
        return lua_failed();
    return HL_OK;
}

int main(void)
{
    static const hl_type text[] = {HL_TYPE_STRING};
    const hl_signature load_signature = {text, 1, HL_TYPE_NULL};
    lua = luaL_newstate();
    if (!lua)
        return EXIT_FAILURE;
    luaL_openlibs(lua);
    lua_register(lua, "host", lua_host);
    hl_guest_export_typed("load", &load_signature, load, NULL);
    hl_guest_export("call", call, NULL);
    return hl_guest_serve();
}
