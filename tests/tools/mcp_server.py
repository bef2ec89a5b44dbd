"""An MCP server on standard input and output, for the tests beside it."""

import os


def main() -> None:
    """Serve some tools until the client leaves."""
    from mcp.server import MCPServer
    from mcp.server.mcpserver.exceptions import ToolError

    server = MCPServer("tests", log_level="CRITICAL")

    @server.tool()
    def to_celsius(fahrenheit: float, digits: int = 0) -> float:
        """Turn degrees into others."""
        return round((fahrenheit - 32) / 1.8, digits or None)

    @server.tool()
    def weather(city: str) -> str:
        """Get the weather in a city."""
        raise ToolError(f"no line to {city}")

    @server.tool()
    def crash() -> str:
        """End the server in the middle of a call."""
        os._exit(3)

    server.run()


if __name__ == "__main__":
    main()
