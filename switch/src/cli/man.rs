//! The manual pages, made of the command line's own description: one page with all commands in it.

use clap::{Arg, Command};
use clap_mangen::Man;

/// The page of `command` in roff.
pub fn page(mut command: Command) -> Vec<u8> {
    command.build();
    let section = if command.get_name().ends_with('d') { "8" } else { "1" };
    let man = Man::new(command.clone()).section(section);
    let mut page = Vec::new();
    // Writing to memory does not fail.
    let _ = man.render_title(&mut page);
    let _ = man.render_name_section(&mut page);
    let _ = man.render_synopsis_section(&mut page);
    let _ = man.render_description_section(&mut page);
    let _ = man.render_options_section(&mut page);
    let mut commands = String::new();
    describe(&command, command.get_name(), &mut commands);
    if !commands.is_empty() {
        page.extend_from_slice(b".SH COMMANDS\n");
        page.extend_from_slice(commands.as_bytes());
    }
    if let Some(notes) = command.get_after_help() {
        page.extend_from_slice(b".SH NOTES\n");
        for line in notes.to_string().lines() {
            page.extend_from_slice(format!("{}\n.br\n", escape(line)).as_bytes());
        }
    }
    page
}

/// Every command without further commands below it, with its own arguments.
fn describe(command: &Command, path: &str, text: &mut String) {
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        let path = format!("{path} {}", below.get_name());
        if below.has_subcommands() {
            describe(below, &path, text);
            continue;
        }
        text.push_str(".TP\n\\fB");
        text.push_str(&escape(&path));
        text.push_str("\\fR");
        let everywhere = |argument: &&Arg| {
            argument.is_global_set() || matches!(argument.get_id().as_str(), "help" | "version")
        };
        let own = || below.get_arguments().filter(|argument| !everywhere(argument));
        for argument in own() {
            let shown = argument.to_string();
            let shown = if argument.is_required_set() || argument.is_positional() {
                shown
            } else {
                format!("[{shown}]")
            };
            text.push_str(&format!(" {}", escape(&shown)));
        }
        text.push('\n');
        for sentence in [below.get_about(), below.get_after_help()].into_iter().flatten() {
            for line in sentence.to_string().lines() {
                text.push_str(&escape(line));
                text.push_str("\n.br\n");
            }
        }
        for argument in own() {
            if let Some(help) = argument.get_help() {
                text.push_str(&escape(&format!("{argument}: {help}")));
                text.push_str("\n.br\n");
            }
        }
    }
}

/// `text` as roff shows it unchanged.
fn escape(text: &str) -> String {
    let escaped = text.replace('\\', "\\e").replace('-', "\\-");
    // A line that begins with one of these would be an instruction.
    if escaped.starts_with(['.', '\'']) { format!("\\&{escaped}") } else { escaped }
}
