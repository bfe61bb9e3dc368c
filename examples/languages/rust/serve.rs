//! Serves calls through /dev/hyperlight: one line of JSON for a call, one for its reply. Without a library for
//! JSON: arguments stay text until a function wants them as something else.
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Result, Write};

struct Service {
    requests: BufReader<File>,
    replies: File,
    served: u32,
}

/// The text of a JSON value's first part up to where the value ends.
fn value_end(text: &str) -> usize {
    let (mut depth, mut quoted, mut escaped) = (0, false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'[' | b'{' if !quoted => depth += 1,
            b']' | b'}' | b',' if !quoted && depth == 0 => return at,
            b']' | b'}' if !quoted => depth -= 1,
            _ => {}
        }
    }
    text.len()
}

/// The value of a key of an object's text.
fn field<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    let start = line.find(&format!("\"{key}\":"))? + key.len() + 3;
    Some(&line[start..start + value_end(&line[start..])])
}

fn items(list: &str) -> Vec<&str> {
    let mut rest = &list[1..list.len() - 1];
    let mut items = Vec::new();
    while !rest.is_empty() {
        let end = value_end(rest);
        items.push(&rest[..end]);
        rest = rest[end..].trim_start_matches(',');
    }
    items
}

fn number(text: &str) -> std::result::Result<i64, String> {
    text.parse().map_err(|_| format!("{} is not a whole number", text.replace('"', "'")))
}

impl Service {
    fn read(&mut self) -> Result<String> {
        let mut line = String::new();
        self.requests.read_line(&mut line)?;
        Ok(line.trim_end().to_string())
    }

    fn say(&mut self, key: &str, value: &str) -> Result<()> {
        self.replies.write_all(format!("{{\"{key}\":{value}}}\n").as_bytes())
    }

    /// Calls a function of the host application with arguments that are JSON already.
    fn host(&mut self, name: &str, args: &str) -> std::result::Result<String, String> {
        let call = format!("{{\"host\":\"{name}\",\"args\":[{args}]}}\n");
        self.replies.write_all(call.as_bytes()).map_err(|error| error.to_string())?;
        let answer = self.read().map_err(|error| error.to_string())?;
        match field(&answer, "result") {
            Some(result) => Ok(result.to_string()),
            None => Err(field(&answer, "error").unwrap_or("\"\"").trim_matches('"').to_string()),
        }
    }

    fn serve(&mut self, name: &str, args: &[&str]) -> std::result::Result<String, String> {
        match (name, args) {
            ("\"add\"", [a, b]) => Ok((number(a)? + number(b)?).to_string()),
            ("\"greet\"", [name]) if name.starts_with('"') => Ok(format!("\"hello, {}", &name[1..])),
            ("\"shout\"", [text]) => self.host("upper", text),
            ("\"count\"", []) => {
                self.served += 1;
                Ok(self.served.to_string())
            }
            _ => Err("the arguments do not fit".to_string()),
        }
    }
}

fn main() -> Result<()> {
    let device = OpenOptions::new().read(true).write(true).open("/dev/hyperlight")?;
    let mut service =
        Service { requests: BufReader::new(device.try_clone()?), replies: device, served: 0 };
    service.say("functions", "[\"add\",\"greet\",\"shout\",\"count\"]")?;
    loop {
        let line = service.read()?;
        let args = items(field(&line, "args").unwrap_or("[]"));
        match service.serve(field(&line, "call").unwrap_or(""), &args) {
            Ok(result) => service.say("result", &result)?,
            Err(error) => service.say("error", &format!("\"{error}\""))?,
        }
    }
}
