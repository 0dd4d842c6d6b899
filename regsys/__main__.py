from regsys.cli import main

raise SystemExit(main())
