from doprestore.cli import main

main()
